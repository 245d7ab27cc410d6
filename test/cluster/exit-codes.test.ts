// Goal: every exit code of the table is what coordinators and workers end with, each for its cause; none is left
// without a test.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { constants } from 'node:os';
import { EXIT_CODES, type ExitCause } from '../../common/exit-codes.js';
import { reportError } from '../../coordinator/commands/command-line.js';
import { startStream } from '../support/generate-stream.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

const MODEL = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32'];
const SERVE = ['serve', ...MODEL, '--grpc-address', '127.0.0.1:0', '--log-level', 'silent'];
const RUN = ['run', ...MODEL, '--question', 'Why?'];
const FAKE_WORKER = repoPath('dist', 'test', 'support', 'fake-worker-main.js');

describe('exit codes', function () {
  this.timeout(60_000);
  const processes: SkeinProcess[] = [];
  const seen = new Set<number>();

  function start(args: readonly string[], engine: object = {}): SkeinProcess {
    processes.push(new SkeinProcess(args, engine));
    return processes.at(-1)!;
  }

  function startReal(args: readonly string[]): SkeinProcess {
    processes.push(SkeinProcess.real(args));
    return processes.at(-1)!;
  }

  function startWorker(args: readonly string[], engine: object = {}): SkeinProcess {
    processes.push(new SkeinProcess([...args, '--log-level', 'info'], engine, {}, FAKE_WORKER));
    return processes.at(-1)!;
  }

  async function stderrOf(skein: SkeinProcess, pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(skein.stderr);
      if (match !== null) return match;
      assert.equal(skein.child.exitCode, null, skein.stderr);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  const addressOf = async (worker: SkeinProcess): Promise<string> =>
    (await stderrOf(worker, /"address":"([^"]+)"/))[1]!;

  async function endsWith(skein: SkeinProcess, cause: ExitCause): Promise<void> {
    const { code, signal } = await skein.exited;
    // As a shell reports it.
    const reported = code ?? 128 + constants.signals[signal!];
    assert.equal(reported, EXIT_CODES[cause].code, skein.stderr);
    seen.add(reported);
  }

  async function takenPort(): Promise<{ server: Server; address: string }> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, address: `127.0.0.1:${(server.address() as { port: number }).port}` };
  }

  const freePort = async (): Promise<string> => {
    const { server, address } = await takenPort();
    await new Promise((resolve) => server.close(resolve));
    return address;
  };

  afterEach(async () => {
    for (const skein of processes.splice(0)) await skein.killed();
  });

  it('0: a signal before it serves, and one to a worker', async () => {
    const server = start([...SERVE, '--cluster-address', '127.0.0.1:0', '--log-level', 'info']);
    await stderrOf(server, /waiting for workers to register/);
    server.child.kill('SIGTERM');
    const worker = startWorker(['--listen', '127.0.0.1:0']);
    await addressOf(worker);
    worker.child.kill('SIGTERM');
    await endsWith(server, 'done');
    await endsWith(worker, 'done');
  });

  it('1: a fault, here an address that is taken', async () => {
    const { server, address } = await takenPort();
    await endsWith(start([...SERVE, '--grpc-address', address]), 'failed');
    await endsWith(startReal(['worker', '--listen', address]), 'failed');
    server.close();
  });

  it('1: an address that is taken, of which nothing else is said: workers that were started end in order', async () => {
    const { server, address } = await takenPort();
    for (const flag of ['--grpc-address', '--http-address', '--metrics-address']) {
      const skein = start([...SERVE, '--log-level', 'warn', flag, address]);
      await endsWith(skein, 'failed');
      assert.match(skein.stderr, /^skein: INVALID_REQUEST: cannot listen on \S+: listen EADDRINUSE: .*\n$/);
    }
    server.close();
  });

  it('2: a mistake on the command line', async () => {
    await endsWith(start([...SERVE, '--drain-timeout', 'soon']), 'usage');
    await endsWith(startReal(['worker', '--threads', 'many']), 'usage');
  });

  it('2: what only other flags or the model show to be wrong, in variables too', async () => {
    for (const wrong of [
      ['--http-address', 'nowhere'],
      ['--min-tensor-parallel-size', '2'],
      ['--tensor-parallel-size', '64'],
      ['--max-model-length', '16777216'],
      ['--log-level', 'loud'],
    ])
      await endsWith(start([...SERVE, ...wrong]), 'usage');
    processes.push(new SkeinProcess(SERVE, {}, { SKEIN_METRICS_ADDRESS: 'nowhere' }));
    await endsWith(processes.at(-1)!, 'usage');
    await endsWith(startReal(['worker', '--listen', 'nowhere']), 'usage');
    await endsWith(startReal(['worker', '--listen', '127.0.0.1:0', '--device', 'gpu']), 'usage');
    await endsWith(startReal(['health', 'nowhere']), 'usage');
    await endsWith(startReal(['bench', 'serve', '--duration', '5']), 'usage');
  });

  it('2: a known name without --load-format dummy, before workers are started or waited for', async () => {
    const known = ['--model', 'skywork-r1v3-38b', '--log-level', 'info'];
    for (const command of [
      ['serve', ...known, '--grpc-address', '127.0.0.1:0'],
      ['serve', ...known, '--grpc-address', '127.0.0.1:0', '--cluster-address', '127.0.0.1:0'],
      ['run', ...known, '--question', 'Why?'],
    ]) {
      const skein = start(command);
      await endsWith(skein, 'usage');
      // No line of a worker or of a group that forms.
      assert.match(
        skein.stderr,
        /^skein: INVALID_REQUEST: --model skywork-r1v3-38b is a known .* --load-format dummy\n$/,
      );
    }
  });

  it('3: a model that cannot be served here', async () => {
    const run = start(RUN, { failLoad: true });
    await endsWith(run, 'unservable');
    assert.match(run.stderr, /^skein: CORRUPT_WEIGHTS: /m);
    const absent = start(['serve', '--model', '/nowhere/model', '--grpc-address', '127.0.0.1:0']);
    await endsWith(absent, 'unservable');
    assert.match(absent.stderr, /^skein: MODEL_NOT_FOUND: /m);
  });

  it('4: a worker that serves another, and a coordinator of another cluster', async () => {
    const worker = startWorker(['--listen', '127.0.0.1:0']);
    const workers = ['--workers', await addressOf(worker)];
    const first = start([...SERVE, ...workers], { stepMs: 10 });
    const stream = await startStream(first, 1_000);
    await endsWith(start([...SERVE, ...workers]), 'refused');
    stream.close();
    const address = await freePort();
    start([...SERVE, '--cluster-address', address]);
    const stranger = startWorker(['--coordinator', address, '--cluster-id', 'another']);
    await endsWith(stranger, 'refused');
    assert.match(stranger.stderr, /^skein: JOIN_REJECTED: /m);
  });

  it('5: a drain that was cut', async () => {
    const server = start([...SERVE, '--drain-timeout', '1'], { stepMs: 20 });
    const stream = await startStream(server, 1_000);
    server.child.kill('SIGTERM');
    assert.notEqual(await stream.ended, null);
    await endsWith(server, 'cut');
    assert.match(server.stderr, /^draining: 1 request is left, cut off in 1 s; .*$/m);
    assert.match(server.stderr, /^skein: DRAINING: 1 request was cut off: --drain-timeout is 1 s$/m);
    stream.close();
  });

  it('6: a worker that no coordinator came for', async () => {
    const address = await freePort();
    const worker = startWorker(['--coordinator', address, '--orphan-policy', 'exit']);
    const server = start([...SERVE, '--cluster-address', address, '--worker-silence', '3']);
    await server.outputMatches(/^serving /m);
    server.child.kill('SIGKILL');
    await endsWith(worker, 'orphaned');
  });

  it('70: a bug', async () => {
    const engine = { failAtStep: 4, failCode: 'INTERNAL' };
    const worker = startWorker(['--listen', '127.0.0.1:0'], engine);
    const server = start([...SERVE, '--workers', await addressOf(worker)]);
    const stream = await startStream(server, 100);
    await endsWith(worker, 'bug');
    stream.close();
    assert.equal(reportError(new TypeError('x is not a function')), EXIT_CODES.bug.code);
  });

  for (const [cause, signal] of [
    ['hangup', 'SIGHUP'],
    ['interrupted', 'SIGINT'],
    ['terminated', 'SIGTERM'],
  ] as const) {
    it(`${EXIT_CODES[cause].code}: ${signal} while run loads`, async () => {
      const run = start(RUN, { loadMs: 20_000 });
      await stderrOf(run, /^loading: /m);
      run.child.kill(signal);
      await endsWith(run, cause);
      assert.match(run.stderr, new RegExp(`^skein: CANCELLED: stopped by ${signal}$`, 'm'));
    });
  }

  it('137: a worker that cannot end by itself is killed, by itself', async () => {
    const worker = startWorker(['--listen', '127.0.0.1:0'], { hangsAtClose: true });
    await addressOf(worker);
    const startedMs = Date.now();
    worker.child.kill('SIGTERM');
    await endsWith(worker, 'killed');
    assert.ok(Date.now() - startedMs < 10_000);
  });

  it('141: nobody reads what it prints', async () => {
    const plan = start(['plan', '--model', 'skywork-r1v3-38b', '--tensor-parallel-size', '2', '--json']);
    plan.child.stdout!.destroy();
    await endsWith(plan, 'unread');
  });

  it('are all of the table, and docs/operations.md has it', () => {
    const all = Object.values(EXIT_CODES);
    assert.deepEqual(
      [...seen].sort((one, other) => one - other),
      all.map(({ code }) => code).sort((one, other) => one - other),
    );
    const page = readFileSync(repoPath('docs/operations.md'), 'utf8');
    const rows = all.map(({ code, meaning, restart }) => `| ${code} | ${meaning} | ${restart} |\n`);
    assert.ok(page.includes(rows.join('')), rows.join(''));
  });
});
