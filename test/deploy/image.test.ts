// Goal: the CPU image as it is run: read-only root, tmpfs for /tmp and /run/skein, user 10001, no capabilities, process
// ids of its own. It answers the bundled question by itself, and as the three containers of the compose file. Only npm
// run test:deploy, which builds it, runs this.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readCompose } from '../support/deploy-files.js';
import { BridgedHosts, signal, type Started } from '../support/network-hosts.js';
import { repoPath, repoRoot } from '../support/paths.js';
import { loadScript } from '../support/scripts.js';

interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Healthcheck: { readonly Test: readonly string[] };
}
interface Builder {
  inspect(tag: string): { size: string; config: ImageConfig };
  mount(tag: string): { root: string; release: () => void };
}
interface DeployImage {
  ImageBuilder: new (options: { repoRoot: string; reporter: object }) => Builder;
  containedCommand: (root: string, command: readonly string[], options?: object) => string[];
}
interface Example {
  readonly picture: string;
  readonly question: string;
  readonly answer: string;
}

const TAG = 'localhost/skein:cpu';
const EXAMPLES = '/opt/skein/models/r1v-nano/examples';
const START_TIMEOUT_MS = 120_000;

describe('the CPU image', function () {
  this.timeout(300_000);
  let scripts: DeployImage;
  let config: ImageConfig;
  let environment: Record<string, string>;
  let mounted: { root: string; release: () => void };
  let example: Example;

  before(async () => {
    scripts = await loadScript<DeployImage>('deploy-image.mjs');
    const builder = new scripts.ImageBuilder({ repoRoot, reporter: {} });
    ({ config } = builder.inspect(TAG));
    mounted = builder.mount(TAG);
    environment = Object.fromEntries(
      config.Env.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)]),
    );
    const text = readFileSync(repoPath('models', 'r1v-nano', 'examples', 'examples.json'), 'utf8');
    [example] = JSON.parse(text) as [Example];
  });
  after(() => mounted?.release());

  function run(command: readonly string[]): { status: number | null; stdout: string; stderr: string } {
    const [program, ...args] = scripts.containedCommand(mounted.root, command, { environment });
    return spawnSync(program!, args, { encoding: 'utf8', timeout: 120_000 });
  }

  it('says what it runs, as whom, and how it is asked for its health', () => {
    assert.equal(config.User, '10001:10001');
    assert.deepEqual([config.Entrypoint, config.Cmd], [['skein'], ['serve']]);
    assert.deepEqual(config.Healthcheck.Test, ['CMD', 'skein', 'health']);
  });

  it('answers the bundled question', () => {
    const flags = ['--tensor-parallel-size', '2', '--model', environment['SKEIN_MODEL']!];
    const asked = ['--image-paths', `${EXAMPLES}/${example.picture}`, '--question', example.question];
    const { status, stdout, stderr } = run(['skein', 'run', ...flags, ...asked]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, new RegExp(`--- answer ---\\s+${example.answer}\\b`));
    process.stdout.write(`${stdout.trim().replace(/^/gm, '      ')}\n`);
  });

  it('has the page of the HTTP server', () => {
    const { stdout } = run(['ls', '/opt/skein/dist/page/site']);
    assert.match(stdout, /^index\.html$[^]*^main-\w+\.js$/m);
  });

  it('is read-only, runs as nobody in particular and holds no build tools', () => {
    const script =
      'id -u; touch /opt/skein/x 2>&1; touch /tmp/x /run/skein/x && echo writable; grep CapEff /proc/self/status; command -v g++ cmake; echo $$';
    const { stdout } = run(['sh', '-c', script]);
    const [id, touch, writable, capabilities, pid] = stdout.trim().split('\n');
    assert.deepEqual([id, writable, pid], ['10001', 'writable', '1']);
    assert.match(touch!, /Read-only file system/);
    assert.match(capabilities!, /^CapEff:\s+0+$/);
  });

  it('serves as the three containers of the compose file, and drains when it is told to end', async () => {
    const services = readCompose();
    const names = Object.keys(services);
    const hosts = new BridgedHosts(names);
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-compose-'));
    try {
      // Docker's own name server.
      const table = path.join(folder, 'hosts');
      writeFileSync(
        table,
        ['127.0.0.1 localhost', ...names.map((name) => `${hosts.address(name)} ${name}`)].join('\n') + '\n',
      );
      const started = new Map<string, Started>();
      for (const [name, service] of Object.entries(services)) {
        const command = [...config.Entrypoint, ...service.command];
        const options = { environment: { ...environment, ...service.environment }, hosts: table };
        started.set(name, hosts.start(name, scripts.containedCommand(mounted.root, command, options), {}));
      }
      const coordinator = started.get('coordinator')!;
      await coordinator.says(/^serving r1v-nano on /m, START_TIMEOUT_MS);
      for (const [name, service] of Object.entries(services)) {
        const [, ...test] = service.healthcheck.test;
        const command = scripts.containedCommand(mounted.root, test, { environment, hosts: table });
        assert.equal(hosts.run(name, command), 'SERVING\n', name);
      }
      const client = [process.execPath, repoPath('dist', 'test', 'support', 'ask-example.js')];
      const said = JSON.parse(
        hosts.run('coordinator', [...client, `${hosts.address('coordinator')}:50051`]),
      ) as {
        answer: string;
        expected: string;
        collective: string;
      };
      assert.deepEqual([said.answer, said.collective], [said.expected, 'gloo']);
      process.stdout.write(`      ${JSON.stringify(said)}\n`);
      for (const pid of hosts.pids('coordinator')) signal(pid, 'SIGTERM');
      assert.equal(await coordinator.exited, 0, coordinator.output);
    } finally {
      await hosts.close();
      rmSync(folder, { recursive: true });
    }
  });
});
