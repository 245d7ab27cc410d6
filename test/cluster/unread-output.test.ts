// Goal: output that nobody reads ends `skein run` quietly and `skein serve` not at all; log lines that nobody reads are
// counted.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import { streamFrom } from '../support/generate-stream.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

const FAKE_MAIN = repoPath('dist', 'test', 'support', 'fake-skein-main.js');
const MODEL = goldenPath('tiny-6b-vit');
const RUN = `run --model ${MODEL} --question Why? --ignore-eos --max-tokens 500 --tensor-parallel-size 2`;

describe('output that nobody reads', function () {
  let folder: string;
  let server: SkeinProcess | null = null;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 't-'));
  });

  afterEach(async () => {
    await server?.killed();
    server = null;
    rmSync(folder, { recursive: true, force: true });
  });

  /** A pipeline of bash; its status line holds the exit code of each command. */
  function shell(script: string): Promise<{ stdout: string; stderr: string; code: number | null }> {
    const env = {
      ...process.env,
      SKEIN: `${process.execPath} ${FAKE_MAIN}`,
      SKEIN_FAKE_ENGINE: JSON.stringify({ stepMs: 5 }),
      TMPDIR: folder,
      XDG_RUNTIME_DIR: '',
    };
    const child = spawn('bash', ['-c', script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    return new Promise((resolve) => child.once('close', (code) => resolve({ stdout, stderr, code })));
  }

  const words = (stderr: string): string => stderr.replace(/^loading: .*\n/gm, '');

  it('ends skein run quietly, long before its answer would end', async () => {
    const startedMs = Date.now();
    const { stdout, stderr } = await shell(`$SKEIN ${RUN} | head -c 25; echo "=$\{PIPESTATUS[0]}" >&2`);
    assert.match(stdout, /^--- (reasoning|answer) ---\n/);
    assert.equal(words(stderr), '=141\n');
    assert.ok(Date.now() - startedMs < 20_000);
    const left = spawnSync('pgrep', ['-f', folder], { encoding: 'utf8' });
    assert.equal(left.stdout, '', 'no worker is left');
  });

  it('ends skein run --json, plan and doctor as quietly', async () => {
    for (const command of [`${RUN} --json`, `plan --model ${MODEL} --json --slices`, 'doctor', '--help']) {
      const { stderr } = await shell(`(sleep 0.1; $SKEIN ${command}) | true; echo "=$\{PIPESTATUS[0]}" >&2`);
      assert.match(words(stderr), /^=(141|0)\n$/, command);
    }
  });

  it('is told in one line where it cannot be written for another reason', async () => {
    const { stderr, code } = await shell(`$SKEIN ${RUN} > /dev/full`);
    assert.equal(code, 1);
    assert.match(
      words(stderr),
      /^skein: INVALID_REQUEST: standard output cannot be written: ENOSPC[^\n]*\n$/,
    );
  });

  it('does not matter where it was closed from the start', async () => {
    for (const closed of ['2>&-', '>&-', '>&- 2>&-']) {
      const { code, stdout } = await shell(`$SKEIN ${RUN} --max-tokens 3 ${closed}`);
      assert.equal(code, 0, closed);
      assert.equal(stdout.includes('rank 1'), closed === '2>&-');
    }
  });

  /** A server whose stderr, or all that it says, goes to a FIFO that nobody reads any more. */
  function startUnread(streams: readonly ('stdout' | 'stderr')[], level: string) {
    const pipe = path.join(folder, 'log');
    spawnSync('mkfifo', [pipe]);
    const openReader = () => openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const reader = openReader();
    const writer = openSync(pipe, constants.O_WRONLY);
    const socket = `unix:${folder}/s`;
    const args = ['serve', '--model', MODEL, '--grpc-address', socket, '--log-level', level];
    const options = Object.fromEntries(streams.map((name) => [name, writer]));
    server = new SkeinProcess(
      args,
      { stepMs: 1 },
      { TMPDIR: folder, XDG_RUNTIME_DIR: '' },
      undefined,
      options,
    );
    return { server, socket, openReader, reader, writer };
  }

  /** Five tokens, as soon as it serves. */
  async function answers(socket: string): Promise<void> {
    const deadline = Date.now() + 20_000;
    const client = new InferenceServiceClient(socket, grpc.credentials.createInsecure());
    for (;;) {
      const stream = await streamFrom(client, 5);
      const error = await stream.ended;
      if (error === null) {
        assert.equal(stream.tokens.length, 5);
        break;
      }
      if (error.code !== grpc.status.UNAVAILABLE || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    client.close();
  }

  async function stopped(process_: SkeinProcess): Promise<void> {
    process.kill(process_.pid, 'SIGTERM');
    assert.deepEqual(await process_.exited, { code: 0, signal: null });
  }

  it('leaves skein serve serving: log lines are dropped, counted, and told when somebody reads again', async () => {
    const unread = startUnread(['stderr'], 'info');
    closeSync(unread.reader);
    closeSync(unread.writer);
    await answers(unread.socket);
    const reader = unread.openReader();
    await stopped(unread.server);
    const log = readAll(reader);
    closeSync(reader);
    assert.match(log, /"msg":"draining"/);
    const told = /^.*log lines were lost while nobody read them.*$/m.exec(log);
    assert.ok(told, log);
    assert.ok((JSON.parse(told[0]) as { dropped: number }).dropped >= 2, told[0]);
    assert.equal(/"msg":"serving"/.test(log), false, 'that line was lost');
  });

  it('leaves skein serve serving where stdout and stderr were both given up', async () => {
    const unread = startUnread(['stdout', 'stderr'], 'info');
    closeSync(unread.reader);
    closeSync(unread.writer);
    await answers(unread.socket);
    await stopped(unread.server);
  });

  it('does not hold skein serve up where a reader sleeps and the pipe is full', async () => {
    const unread = startUnread(['stdout', 'stderr'], 'trace');
    fill(openSync(path.join(folder, 'log'), constants.O_WRONLY | constants.O_NONBLOCK));
    closeSync(unread.writer);
    await answers(unread.socket);
    await stopped(unread.server);
    closeSync(unread.reader);
  });
});

/** Until the pipe takes no more; closes it. */
function fill(writer: number): void {
  const block = Buffer.alloc(1024, '#');
  try {
    for (;;) writeSync(writer, block);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
  }
  closeSync(writer);
}

function readAll(reader: number): string {
  const chunk = Buffer.alloc(65_536);
  let text = '';
  for (let length = readSync(reader, chunk); length > 0; length = readSync(reader, chunk))
    text += chunk.toString('utf8', 0, length);
  return text;
}
