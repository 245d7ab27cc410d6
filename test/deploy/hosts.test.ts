// Goal: a cluster over hosts that nothing but its environment configures, as the units and the compose file do it:
// network namespaces as hosts, the coordinator on one and two ranks on the other, asked over the network. Real
// processes, the native engine, the bundled model.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readEnvironmentFile, whyNoNamespaces } from '../support/deploy-files.js';
import { BridgedHosts, type Started } from '../support/network-hosts.js';
import { repoPath } from '../support/paths.js';

const SKEIN = [process.execPath, repoPath('bin', 'skein.mjs')];
const START_TIMEOUT_MS = 60_000;

interface Said {
  readonly answer: string;
  readonly expected: string;
  readonly collective: string;
  readonly ranks: readonly { readonly workerId: string; readonly address: string }[];
}

describe('hosts that their environment configures', function () {
  this.timeout(180_000);
  let hosts: BridgedHosts;

  before(function () {
    const reason = whyNoNamespaces();
    if (reason !== null) {
      process.stdout.write(`      skipped: ${reason}\n`);
      this.skip();
    }
  });
  beforeEach(() => {
    hosts = new BridgedHosts(['coordinator', 'workers']);
  });
  afterEach(() => hosts?.close());

  function startCoordinator(): Started {
    const environment = readEnvironmentFile('coordinator.env');
    assert.equal(environment['SKEIN_MODEL'], '/opt/skein/models/r1v-nano');
    return hosts.start('coordinator', [...SKEIN, 'serve'], {
      ...environment,
      SKEIN_MODEL: repoPath('models', 'r1v-nano'),
    });
  }

  /** With `ownProcessIds` as a container has them. */
  function startWorker(index: number, { ownProcessIds }: { ownProcessIds: boolean }): Started {
    const container = ownProcessIds ? ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] : [];
    return hosts.start('workers', [...container, ...SKEIN, 'worker'], {
      ...readEnvironmentFile('worker.env'),
      SKEIN_WORKER_ID: `there-${index}`,
      SKEIN_COORDINATOR: `${hosts.address('coordinator')}:50050`,
      SKEIN_LISTEN: `${hosts.address('workers')}:0`,
    });
  }

  async function askedFromTheOtherHost(coordinator: Started): Promise<Said> {
    await coordinator.says(/^serving r1v-nano on /m, START_TIMEOUT_MS);
    const address = `${hosts.address('coordinator')}:50051`;
    assert.equal(hosts.run('workers', [...SKEIN, 'health', address]), 'SERVING\n');
    const client = [process.execPath, repoPath('dist', 'test', 'support', 'ask-example.js'), address];
    return JSON.parse(hosts.run('workers', client)) as Said;
  }

  it('answer with two ranks that share a host, as the units start them', async () => {
    for (const index of [0, 1]) startWorker(index, { ownProcessIds: false });
    const coordinator = startCoordinator();
    const { answer, expected, collective, ranks } = await askedFromTheOtherHost(coordinator);
    assert.equal(answer, expected);
    assert.equal(collective, 'shared-memory');
    assert.deepEqual(ranks.map(({ workerId }) => workerId).sort(), ['there-0', 'there-1']);
    for (const { address } of ranks) assert.ok(address.startsWith(`${hosts.address('workers')}:`), address);
    coordinator.child.kill('SIGTERM');
    assert.equal(await coordinator.exited, 0);
  });

  it('answer with two ranks in containers, which share no process ids and meet over TCP', async () => {
    for (const index of [0, 1]) startWorker(index, { ownProcessIds: true });
    const { answer, expected, collective } = await askedFromTheOtherHost(startCoordinator());
    assert.equal(answer, expected);
    assert.equal(collective, 'gloo');
  });

  it('answer with two ranks of one container, as the chart starts them', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-workers-'));
    try {
      symlinkSync(repoPath('bin', 'skein.mjs'), path.join(folder, 'skein'));
      const workers = hosts.start('workers', [repoPath('deploy', 'container', 'workers.sh')], {
        PATH: `${folder}:${process.env['PATH']}`,
        SKEIN_NUM_WORKERS: '2',
        SKEIN_DEVICE: 'cpu',
        SKEIN_WORKER_HOST: hosts.address('workers'),
        LWS_LEADER_ADDRESS: hosts.address('coordinator'),
      });
      const { answer, expected, ranks } = await askedFromTheOtherHost(startCoordinator());
      assert.equal(answer, expected);
      const addresses = [50060, 50061].map((port) => `${hosts.address('workers')}:${port}`);
      assert.deepEqual(ranks.map(({ address }) => address).sort(), addresses);
      workers.child.kill('SIGTERM');
      assert.equal(await workers.exited, 0, workers.output);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('end a container with the first of its ranks that fails, and with its exit code', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-workers-'));
    try {
      // The second of two fails at once; the first would run for ever.
      const fake = '#!/bin/sh\ncase "$*" in *:50061*) exit 7;; esac\nexec sleep 1000\n';
      writeFileSync(path.join(folder, 'skein'), fake, { mode: 0o755 });
      const workers = hosts.start('workers', [repoPath('deploy', 'container', 'workers.sh')], {
        PATH: `${folder}:${process.env['PATH']}`,
        SKEIN_NUM_WORKERS: '2',
        SKEIN_WORKER_HOST: '127.0.0.1',
      });
      assert.equal(await workers.exited, 7, workers.output);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
