// Goal: what an orchestrator sees. A server and a worker that are configured by the environment alone, and the three
// answers of `skein health` from before a server is there until after it is gone. Real processes, a fake engine.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ownAddress } from '../../coordinator/commands/health.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

function probe(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): { answer: string; code: number | null } {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [repoPath('bin', 'skein.mjs'), 'health', ...args],
    { encoding: 'utf8', env: { ...process.env, ...environment }, timeout: 20_000 },
  );
  return { answer: (stdout + stderr).trim(), code: status };
}

describe('probes', function () {
  this.timeout(60_000);
  let skein: SkeinProcess | null = null;
  let folder: string;

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-probes-'));
  });
  afterEach(async () => {
    await skein?.killed();
    skein = null;
  });
  after(() => rmSync(folder, { recursive: true }));

  it('are answered by a server that the environment configures, proxies or not', async () => {
    const address = `unix:${path.join(folder, 'grpc.sock')}`;
    const environment = {
      SKEIN_MODEL: goldenPath('tiny-text'),
      SKEIN_TENSOR_PARALLEL_SIZE: '2',
      SKEIN_GRPC_ADDRESS: address,
      SKEIN_LOG_LEVEL: 'silent',
    };
    const absent = `UNAVAILABLE: connect ENOENT ${address.slice('unix:'.length)}`;
    assert.deepEqual(probe([], environment), { answer: absent, code: 1 });
    skein = new SkeinProcess(['serve'], {}, environment);
    await skein.outputMatches(/^serving tiny-text on unix:/m);
    for (const service of ['ready', 'startup', 'live', '', 'skein.inference.v1.InferenceService']) {
      const proxied = { ...environment, http_proxy: 'http://127.0.0.1:9', grpc_proxy: 'http://127.0.0.1:9' };
      assert.deepEqual(probe(['--service', service], proxied), { answer: 'SERVING', code: 0 }, service);
    }
    const unknown = probe(['--service', 'nothing'], environment);
    assert.match(unknown.answer, /^NOT_FOUND: .*nothing/);
    assert.equal(unknown.code, 1);
    skein.child.kill('SIGTERM');
    await skein.exited;
    assert.equal(probe([address]).code, 1);
  });

  it('are answered over HTTP too, on the address of the metrics as on that of clients', async () => {
    const folders = ['http.sock', 'metrics.sock'].map((name) => path.join(folder, name));
    skein = new SkeinProcess(
      [
        ...['serve', '--model', goldenPath('tiny-text'), '--grpc-address', `unix:${folders[0]}`],
        ...['--http-address', '127.0.0.1:0', '--metrics-address', '127.0.0.1:0', '--log-level', 'info'],
      ],
      {},
    );
    const [, http] = await skein.outputMatches(/^serving tiny-text on \S+ and (http:\S+)$/m);
    const [, metrics] = /"address":"(http:[^"]+)","msg":"listening for metrics"/.exec(skein.stderr)!;
    for (const address of [http!, `${http!}/ready`, `${http!}/live`, metrics!])
      assert.deepEqual(probe([address]), { answer: 'SERVING', code: 0 }, address);
    assert.deepEqual(probe([`${http!}/nowhere`]), { answer: 'NOT_SERVING', code: 1 });
    // Metrics are on the one address alone.
    assert.equal((await fetch(`${metrics!}/metrics`)).status, 200);
    assert.equal((await fetch(`${http!}/metrics`)).status, 404);
    skein.child.kill('SIGTERM');
    await skein.exited;
    const refused = `UNAVAILABLE: connect ECONNREFUSED ${new URL(http!).host}`;
    assert.deepEqual(probe([http!]), { answer: refused, code: 1 });
  });

  it('refuse a mistake on the command line or in a variable', async () => {
    const nowhere = probe(['nowhere']);
    assert.match(nowhere.answer, /INVALID_REQUEST: address/);
    assert.equal(nowhere.code, 2);
    assert.equal(probe(['--timeout', '0']).code, 2);
    skein = new SkeinProcess(['serve', '--model', 'x'], {}, { SKEIN_DRAIN_TIMEOUT: 'soon' });
    assert.equal((await skein.exited).code, 2);
    assert.match(skein.stderr, /^skein: INVALID_REQUEST: SKEIN_DRAIN_TIMEOUT: "soon": expected an integer/m);
  });

  it('go to this host where a server listens on all addresses', () => {
    assert.equal(ownAddress({}), '127.0.0.1:50051');
    assert.equal(ownAddress({ SKEIN_GRPC_ADDRESS: '0.0.0.0:7' }), '127.0.0.1:7');
    assert.equal(ownAddress({ SKEIN_GRPC_ADDRESS: '[::]:7' }), '127.0.0.1:7');
    assert.equal(ownAddress({ SKEIN_GRPC_ADDRESS: 'unix:/run/x' }), 'unix:/run/x');
  });
});
