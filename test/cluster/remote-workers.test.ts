// Goal: workers that somebody else starts, on TCP: they register and keep a lease, are dialled back, outlive their
// coordinator with their weights, and serve the next one in a higher epoch. The engine is a fake.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { generate } from '../../coordinator/engine/generate.js';
import { Serving } from '../../coordinator/serving/serving.js';
import { FAKE_WORKER_ENTRY, fakeConfig, silentLogger } from '../support/fake-cluster.js';
import { allGone } from '../support/skein-process.js';

describe('workers on other hosts', function () {
  const children: ChildProcess[] = [];
  let engine: object = {};
  let serving: Serving | null = null;

  function startWorker(...args: string[]): ChildProcess {
    const env = { ...process.env, SKEIN_FAKE_ENGINE: JSON.stringify(engine) };
    const child = spawn(process.execPath, [...FAKE_WORKER_ENTRY, '--log-level', 'info', ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    });
    children.push(child);
    return child;
  }

  /** The address that a worker says it listens at. */
  function listening(child: ChildProcess): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const match = /"address":"([^"]+)"/.exec(text);
        if (match !== null) resolve(match[1]!);
      });
    });
  }

  async function serve(config: object): Promise<Serving> {
    serving = await Serving.start({
      config: fakeConfig({ worldSize: 2, config }),
      logger: silentLogger,
      workerEntry: [],
      onProgress: () => undefined,
      signal: AbortSignal.timeout(20_000),
    });
    return serving;
  }

  async function answer(used: Serving): Promise<number> {
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6), pictures: [] };
    const generation = generate(
      used.engine,
      { requestId: '', prompt, sampling: { maxTokens: 5 } },
      new AbortController().signal,
    );
    let count = 0;
    for await (const delta of generation.deltas) count += delta.tokenIds.length;
    return count;
  }

  afterEach(async () => {
    await serving?.stop();
    serving = null;
    for (const child of children) child.kill('SIGKILL');
    await allGone(
      children.map((child) => child.pid!),
      5_000,
    );
    children.length = 0;
    engine = {};
  });

  it('are named with --workers, and serve a second coordinator in a higher epoch', async () => {
    const addresses = await Promise.all(
      ['a', 'b'].map((id) => listening(startWorker('--listen', '127.0.0.1:0', '--worker-id', id))),
    );
    const first = await serve({ workers: addresses });
    assert.equal(await answer(first), 5);
    const firstEpoch = first.cluster().groupEpoch;
    await first.stop();
    const second = await serve({ workers: addresses });
    assert.equal(await answer(second), 5);
    assert.ok(second.cluster().groupEpoch > firstEpoch);
    assert.deepEqual(
      second.group.ranks.map(({ pid }) => pid),
      children.map(({ pid }) => pid),
    );
  });

  it('register by themselves, and a lost one ends the epoch', async () => {
    const port = 20_000 + (process.pid % 20_000);
    const coordinator = `127.0.0.1:${port}`;
    const workers = ['a', 'b'].map((id) => startWorker('--coordinator', coordinator, '--worker-id', id));
    const used = await serve({ clusterAddress: coordinator });
    assert.equal(await answer(used), 5);
    const killedMs = Date.now();
    workers[1]!.kill('SIGKILL');
    assert.equal((await used.ended)?.code, 'WORKER_LOST');
    assert.ok(Date.now() - killedMs < 2_000);
  });

  it('are reached directly, whatever proxies the environment names', async () => {
    const dead = 'http://127.0.0.1:9';
    const proxies = { grpc_proxy: dead, http_proxy: dead, https_proxy: dead };
    const before = { ...process.env };
    Object.assign(process.env, proxies);
    try {
      const coordinator = `127.0.0.1:${20_000 + (process.pid % 20_000)}`;
      // They inherit the environment: the way to the coordinator and the way back are both tested.
      for (const id of ['a', 'b']) startWorker('--coordinator', coordinator, '--worker-id', id);
      assert.equal(await answer(await serve({ clusterAddress: coordinator })), 5);
    } finally {
      for (const name of Object.keys(proxies)) {
        if (before[name] === undefined) delete process.env[name];
        else process.env[name] = before[name];
      }
    }
  });

  it('a device that fails ends the process that had it, and no other', async () => {
    engine = { workers: { b: { failAtStep: 4 } } };
    const workers = ['a', 'b'].map((id) => startWorker('--listen', '127.0.0.1:0', '--worker-id', id));
    let stderr = '';
    workers[1]!.stderr?.on('data', (chunk: string) => (stderr += chunk));
    const used = await serve({ workers: await Promise.all(workers.map((worker) => listening(worker))) });
    await assert.rejects(answer(used), { code: 'DEVICE_ERROR' });
    const ended = new Promise((resolve) => workers[1]!.once('close', resolve));
    assert.equal(workers[1]!.exitCode ?? (await ended), 1);
    assert.match(stderr, /^skein: DEVICE_ERROR: the fake device failed$/m);
    assert.equal(workers[0]!.exitCode, null);
    assert.equal((await used.ended)?.code, 'DEVICE_ERROR');
  });

  it('are refused as two ranks when they are one, or when they are too few', async () => {
    const address = await listening(startWorker('--listen', '127.0.0.1:0', '--worker-id', 'a'));
    await assert.rejects(serve({ workers: [address, address] }), /one and the same worker/);
    await assert.rejects(serve({ workers: [address] }), /--workers names 1/);
  });
});
