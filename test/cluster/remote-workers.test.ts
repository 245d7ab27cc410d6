// Goal: workers that somebody else starts, on TCP: they register and keep a lease, are dialled back, outlive their
// coordinator with their weights, and serve the next one in a higher epoch. The engine is a fake.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { AppError } from '../../common/errors.js';
import { generate } from '../../coordinator/engine/generate.js';
import { Serving, type ServingOptions } from '../../coordinator/serving/serving.js';
import { FAKE_WORKER_ENTRY, fakeConfig, silentLogger } from '../support/fake-cluster.js';
import { fakeNextToken } from '../support/fake-model.js';
import { allGone } from '../support/skein-process.js';
import { Stopwatch } from '../support/stopwatch.js';

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

  async function serve(config: object, options: Partial<ServingOptions> = {}): Promise<Serving> {
    serving = await Serving.start({
      config: fakeConfig({ worldSize: 2, config }),
      logger: silentLogger,
      workerEntry: [],
      onProgress: () => undefined,
      signal: AbortSignal.timeout(20_000),
      ...options,
    });
    return serving;
  }

  async function answer(used: Serving, maxTokens = 5, onToken = (): void => undefined): Promise<number> {
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6), pictures: [] };
    const { signal } = new AbortController();
    const generation = generate(used.engine, { requestId: '', prompt, sampling: { maxTokens } }, signal);
    const ids = [5, 6];
    for await (const { tokenIds } of generation.deltas) {
      for (const id of tokenIds) {
        assert.equal(id, fakeNextToken(ids, 2), `token ${ids.length - 2}`);
        ids.push(id);
      }
      onToken();
    }
    return ids.length - 2;
  }

  /** Begins a long answer, and kills the worker once there is some of it. */
  async function loseUnderway(
    used: Serving,
    worker: ChildProcess,
  ): Promise<{ readonly answer: Promise<number> }> {
    let onFirst: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (onFirst = resolve));
    const running = answer(used, 200, () => onFirst());
    running.catch(() => undefined);
    await first;
    worker.kill('SIGKILL');
    return { answer: running };
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
    const sinceKilled = new Stopwatch();
    workers[1]!.kill('SIGKILL');
    assert.equal((await used.ended)?.code, 'WORKER_LOST');
    assert.ok(sinceKilled.stop() < 2_000);
  });

  it('that have registered beyond what is needed take the place of a lost one at once', async () => {
    engine = { stepMs: 3 };
    const coordinator = `127.0.0.1:${20_000 + (process.pid % 20_000)}`;
    const register = (id: string) => startWorker('--coordinator', coordinator, '--worker-id', id);
    const workers = ['a', 'b'].map(register);
    const used = await serve({ clusterAddress: coordinator }, { restartPolicy: 'epoch' });
    const pids = used.group.ranks.map(({ pid }) => pid);
    const spare = register('c');
    await listening(spare);
    const lost = workers.find(({ pid }) => pid === pids[0])!;
    const startMs = performance.now();
    let recovered = 0;
    used.engine.observe({ onRecovery: () => (recovered = performance.now() - startMs) });
    assert.equal(await (await loseUnderway(used, lost)).answer, 200);
    assert.deepEqual(new Set(used.group.ranks.map(({ pid }) => pid)), new Set([pids[1], spare.pid]));
    // Shorter than any lease.
    assert.ok(recovered > 0 && recovered < 10_000, `${recovered} ms`);
  });

  it('that are named are dialled until they are back, and what runs goes on then', async () => {
    engine = { stepMs: 3 };
    const startNamed = (id: string, port = 0) =>
      startWorker('--listen', `127.0.0.1:${port}`, '--worker-id', id);
    const named = ['a', 'b'].map((id) => startNamed(id));
    const addresses = await Promise.all(named.map(listening));
    const used = await serve({ workers: addresses }, { restartPolicy: 'epoch' });
    const { answer: running } = await loseUnderway(used, named[1]!);
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(used.cluster().state, 'recovering');
    const back = startNamed('b', Number(addresses[1]!.split(':')[1]));
    assert.equal(await running, 200);
    assert.deepEqual(
      used.group.ranks.map(({ pid }) => pid),
      [named[0]!.pid, back.pid],
    );
  });

  it('that do not come back in time end the service, which says so', async () => {
    engine = { stepMs: 3 };
    const named = ['a', 'b'].map((id) => startWorker('--listen', '127.0.0.1:0', '--worker-id', id));
    const addresses = await Promise.all(named.map(listening));
    const used = await serve({ workers: addresses }, { restartPolicy: 'epoch', rejoinTimeoutMs: 400 });
    const { answer: running } = await loseUnderway(used, named[1]!);
    await assert.rejects(running, (error: AppError) => {
      assert.equal(error.code, 'WORKER_LOST');
      assert.match(error.message, /^the worker at .* did not come back within 400 ms$/);
      return true;
    });
    assert.match((await used.ended)?.message ?? '', /did not come back/);
  });

  it('that do not come back in time leave the group to those that are there, where fewer will do', async () => {
    engine = { stepMs: 3 };
    const named = ['a', 'b'].map((id) => startWorker('--listen', '127.0.0.1:0', '--worker-id', id));
    const addresses = await Promise.all(named.map(listening));
    const fewer = { restartPolicy: 'epoch', rejoinTimeoutMs: 400, minTensorParallelSize: 1 } as const;
    const used = await serve({ workers: addresses }, fewer);
    const { answer: running } = await loseUnderway(used, named[0]!);
    assert.equal(await running, 200);
    assert.deepEqual(
      used.group.ranks.map(({ pid, rank }) => [pid, rank]),
      [[named[1]!.pid, 0]],
    );
    // Who is back is taken by the next epoch.
    const back = startWorker('--listen', addresses[0]!, '--worker-id', 'a');
    await listening(back);
    const recovered = new Promise<void>((resolve) => used.engine.observe({ onRecovery: () => resolve() }));
    used.group.fail(new AppError('WORKER_LOST', 'a test'));
    await recovered;
    assert.deepEqual(new Set(used.group.ranks.map(({ pid }) => pid)), new Set([back.pid, named[1]!.pid]));
    assert.equal(await answer(used), 5);
  });

  it('that have registered go on with fewer, where nobody comes in place of a lost one', async () => {
    engine = { stepMs: 3 };
    const coordinator = `127.0.0.1:${20_000 + (process.pid % 20_000)}`;
    const workers = ['a', 'b'].map((id) => startWorker('--coordinator', coordinator, '--worker-id', id));
    const fewer = { restartPolicy: 'epoch', rejoinTimeoutMs: 400, minTensorParallelSize: 1 } as const;
    const used = await serve({ clusterAddress: coordinator }, fewer);
    const { answer: running } = await loseUnderway(used, workers[1]!);
    assert.equal(await running, 200);
    assert.deepEqual(
      used.group.ranks.map(({ pid }) => pid),
      [workers[0]!.pid],
    );
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
