// Goal: the Helm chart renders, for each of the committed value files, objects that Kubernetes and LeaderWorkerSet
// accept, with settings that Skein takes; wrong values are refused before anything is rendered.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Command } from 'commander';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { applySettings } from '../../common/settings.js';
import { registerServe } from '../../coordinator/commands/serve.js';
import { createWorkerCommand } from '../../worker/config.js';
import { goTool } from '../support/deploy-files.js';
import { repoPath, repoRoot } from '../support/paths.js';
import { loadScript } from '../support/scripts.js';

const CHART = repoPath('deploy', 'helm', 'skein');
const VALUES = repoPath('deploy', 'helm', 'values');
const KUBERNETES = '1.32.0';

interface Container {
  readonly name: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env: readonly { name: string; value?: string }[];
  readonly resources: { readonly limits: Readonly<Record<string, string | number>> };
  readonly securityContext: {
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { drop: string[] };
  };
}
interface PodTemplate {
  readonly spec: {
    readonly containers: readonly Container[];
    readonly securityContext: { runAsUser: number };
  };
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
  readonly spec: {
    readonly leaderWorkerTemplate: {
      readonly size: number;
      readonly leaderTemplate: PodTemplate;
      readonly workerTemplate: PodTemplate;
    };
  };
}

describe('the Helm chart', function () {
  this.timeout(60_000);
  let helm: string;
  let kubeconform: string;
  let folder: string;
  let schemas: string;

  before(async function () {
    const [helmPath, kubeconformPath] = [await goTool('helm'), await goTool('kubeconform')];
    const { schemaFolder } = await loadScript<{ schemaFolder: (root: string) => string }>(
      'kubernetes-schemas.mjs',
    );
    schemas = schemaFolder(repoRoot);
    if (helmPath === null || kubeconformPath === null || !existsSync(schemas)) {
      process.stdout.write(
        '      skipped: helm, kubeconform and their schemas are brought by npm run test:deploy\n',
      );
      this.skip();
    }
    [helm, kubeconform] = [helmPath, kubeconformPath];
    folder = mkdtempSync(path.join(tmpdir(), 'skein-chart-'));
  });
  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
  });

  function run(
    command: string,
    args: readonly string[],
  ): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(command, [...args], { encoding: 'utf8' });
  }

  function template(...args: string[]): { status: number | null; stdout: string; stderr: string } {
    return run(helm, ['template', 'release', CHART, '--kube-version', KUBERNETES, ...args]);
  }

  function rendered(...args: string[]): Manifest[] {
    const { status, stdout, stderr } = template(...args);
    assert.equal(status, 0, stderr);
    return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
  }

  function conforms(text: string): { isValid: boolean; says: string } {
    const file = path.join(folder, 'rendered.yaml');
    writeFileSync(file, text);
    const location = `${schemas}/{{ .ResourceKind }}{{ .KindSuffix }}.json`;
    const { status, stdout } = run(kubeconform, ['-strict', '-summary', '-schema-location', location, file]);
    return { isValid: status === 0 && /Invalid: 0, Errors: 0, Skipped: 0/.test(stdout), says: stdout };
  }

  function group(manifests: readonly Manifest[]): Manifest['spec']['leaderWorkerTemplate'] {
    return manifests.find(({ kind }) => kind === 'LeaderWorkerSet')!.spec.leaderWorkerTemplate;
  }

  it('passes lint, strictly, with every value file', () => {
    const files = readdirSync(VALUES).map((file) => ['-f', path.join(VALUES, file)]);
    for (const values of [[], ...files]) {
      const { status, stdout } = run(helm, [
        'lint',
        '--strict',
        '--kube-version',
        KUBERNETES,
        CHART,
        ...values,
      ]);
      assert.equal(status, 0, stdout);
    }
  });

  for (const file of ['cpu', 'one-gpu', 'tp4-one-host', 'tp8-two-hosts']) {
    it(`renders ${file} as Kubernetes and LeaderWorkerSet take it, with settings that Skein takes`, () => {
      const values = ['-f', path.join(VALUES, `${file}.yaml`)];
      const { isValid, says } = conforms(template(...values).stdout);
      assert.ok(isValid, says);
      assert.match(says, /Valid: 6/);
      const manifests = rendered(...values);
      const { data } = manifests.find(({ kind }) => kind === 'ConfigMap')!;
      const program = new Command();
      registerServe(program, []);
      for (const [key, command] of [
        ['serve.json', program.commands[0]!],
        ['worker.json', createWorkerCommand()],
      ] as const) {
        const settings = path.join(folder, key);
        writeFileSync(settings, data[key]!);
        applySettings(command, { args: ['--settings', settings], environment: {} });
      }
      const { leaderTemplate, workerTemplate } = group(manifests);
      for (const { spec } of [leaderTemplate, workerTemplate]) {
        assert.equal(spec.securityContext.runAsUser, 10001);
        for (const { securityContext } of spec.containers) {
          assert.equal(securityContext.readOnlyRootFilesystem, true);
          assert.deepEqual(securityContext.capabilities.drop, ['ALL']);
        }
      }
    });
  }

  it('gives two hosts of four GPUs a coordinator and eight workers, each host its own GPUs', () => {
    const manifests = rendered('-f', path.join(VALUES, 'tp8-two-hosts.yaml'));
    const { size, leaderTemplate, workerTemplate } = group(manifests);
    assert.equal(size, 2);
    const names = ({ spec }: PodTemplate): string[] => spec.containers.map(({ name }) => name);
    assert.deepEqual(
      [names(leaderTemplate), names(workerTemplate)],
      [['coordinator', 'workers'], ['workers']],
    );
    for (const { spec } of [leaderTemplate, workerTemplate]) {
      const workers = spec.containers.find(({ name }) => name === 'workers')!;
      assert.equal(workers.resources.limits['nvidia.com/gpu'], 4);
      assert.deepEqual(workers.command, ['skein-workers']);
      const environment = Object.fromEntries(workers.env.map(({ name, value }) => [name, value]));
      assert.deepEqual([environment['SKEIN_NUM_WORKERS'], environment['NCCL_SOCKET_IFNAME']], ['4', 'eth0']);
    }
    const { data } = manifests.find(({ kind }) => kind === 'ConfigMap')!;
    const settings = JSON.parse(data['serve.json']!) as Record<string, unknown>;
    assert.equal(settings['tensor-parallel-size'], 8);
    assert.equal(settings['cluster-address'], '0.0.0.0:50050');
  });

  it('has metrics for Prometheus, its alerts, and autoscaling by the queue, where they are asked for', () => {
    const plain = rendered().map(({ kind }) => kind);
    const asked = ['ServiceMonitor', 'PrometheusRule', 'HorizontalPodAutoscaler'];
    for (const kind of asked) assert.ok(!plain.includes(kind), kind);
    const flags = [
      ...[
        '--set',
        'metrics.serviceMonitor.enabled=true',
        '--set',
        'metrics.serviceMonitor.labels.release=prom',
      ],
      ...['--set', 'metrics.prometheusRule.enabled=true', '--set', 'autoscaling.enabled=true'],
    ];
    const { isValid, says } = conforms(template(...flags).stdout);
    assert.ok(isValid, says);
    assert.match(says, /Valid: 9/);
    const manifests = rendered(...flags);
    const of = (kind: string): Record<string, never> =>
      manifests.find((manifest) => manifest.kind === kind)! as unknown as Record<string, never>;
    const monitor = of('ServiceMonitor') as unknown as {
      metadata: { labels: Record<string, string> };
      spec: { endpoints: { port: string }[]; selector: { matchLabels: Record<string, string> } };
    };
    assert.equal(monitor.metadata.labels['release'], 'prom');
    const service = of('Service') as unknown as {
      metadata: { labels: Record<string, string> };
      spec: { ports: { name: string }[] };
    };
    for (const { port } of monitor.spec.endpoints)
      assert.ok(
        service.spec.ports.some(({ name }) => name === port),
        port,
      );
    for (const [label, value] of Object.entries(monitor.spec.selector.matchLabels))
      assert.equal(service.metadata.labels[label], value);
    const { groups } = (of('PrometheusRule') as unknown as { spec: { groups: { rules: object[] }[] } }).spec;
    assert.ok(groups[0]!.rules.length > 10);
    const scaler = of('HorizontalPodAutoscaler') as unknown as {
      spec: { scaleTargetRef: { kind: string; name: string } };
    };
    const set = of('LeaderWorkerSet') as unknown as { metadata: { name: string }; spec: object };
    assert.deepEqual(
      [scaler.spec.scaleTargetRef.kind, scaler.spec.scaleTargetRef.name],
      ['LeaderWorkerSet', set.metadata.name],
    );
    // What the autoscaler sets, an upgrade must not set back.
    assert.ok(!('replicas' in set.spec));
  });

  it('serves HTTP beside gRPC unless that is not wanted', () => {
    const settings = (...flags: string[]): Record<string, unknown> =>
      JSON.parse(rendered(...flags).find(({ kind }) => kind === 'ConfigMap')!.data['serve.json']!) as Record<
        string,
        unknown
      >;
    assert.equal(settings()['http-address'], '0.0.0.0:8000');
    assert.equal(settings('--set', 'http.enabled=false')['http-address'], undefined);
    assert.equal(settings()['metrics-address'], '0.0.0.0:9464');
    assert.doesNotMatch(template('--set', 'http.enabled=false').stdout, /8000/);
  });

  it('is held to strict schemas: a field that does not exist is found', () => {
    const text = template().stdout;
    for (const [right, wrong] of [
      ['startupPolicy:', 'startUpPolicy:'],
      ['restartPolicy: None', 'restartPolicy: Sometimes'],
      ['readOnlyRootFilesystem:', 'readOnlyRootFileSystem:'],
      ['maxUnavailable: 0', 'maxUnavailble: 0'],
    ] as const) {
      assert.ok(text.includes(right), right);
      assert.equal(conforms(text.replace(right, wrong)).isValid, false, wrong);
    }
  });

  it('refuses values that mean nothing', () => {
    for (const [setting, message] of [
      ['device=tpu', /device/],
      ['hosts=0', /hosts/],
      ['tls.enabled=true', /tls/],
      ['model.folder=../other', /folder/],
      ['ranksPerHosts=2', /ranksPerHosts/],
      ['model.source=persistentVolumeClaim', /claimName/],
      ['network.nccl.FOO=1', /FOO|nccl/],
      ['autoscaling.maxReplicas=0', /maxReplicas/],
      ['metrics.serviceMonitor.interval=often', /interval/],
    ] as const) {
      const { status, stderr } = template('--set', setting);
      assert.notEqual(status, 0, setting);
      assert.match(stderr, message);
    }
  });
});
