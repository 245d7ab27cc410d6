// Goal: a weight file that changes under a running server is noticed when a rank reads it again, though it has the size
// and the time that it had: the service ends and names the tensor, rather than go on with ranks of two models. The
// native engine, real processes.
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { startStream } from '../support/generate-stream.js';
import { goldenPath } from '../support/paths.js';
import { SkeinProcess } from '../support/skein-process.js';

/** Every rank holds it. */
const TENSOR = 'language_model.model.layers.0.input_layernorm.weight';
const SERVE = ['--dtype', 'float32', '--grpc-address', '127.0.0.1:0', '--log-level', 'silent'];

/** One bit of an element in the middle, and nothing else. */
function flipBit(file: string, tensor: string): void {
  const { atime, mtime } = statSync(file);
  const descriptor = openSync(file, 'r+');
  const read = (bytes: number, at: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    readSync(descriptor, buffer, 0, bytes, at);
    return buffer;
  };
  const headerBytes = Number(read(8, 0).readBigUInt64LE());
  const header = JSON.parse(read(headerBytes, 8).toString()) as Record<string, { data_offsets: number[] }>;
  const [start, end] = header[tensor]!.data_offsets as [number, number];
  const at = 8 + headerBytes + Math.floor((start + end) / 2);
  const byte = read(1, at);
  byte[0]! ^= 1;
  writeSync(descriptor, byte, 0, 1, at);
  closeSync(descriptor);
  utimesSync(file, atime, mtime);
}

describe('a weight file that changes under a running server', function () {
  this.timeout(60_000);
  const model = mkdtempSync(path.join(tmpdir(), 'skein-changed-'));
  let server: SkeinProcess | null = null;

  before(() => cpSync(goldenPath('tiny-6b-vit'), model, { recursive: true }));
  afterEach(() => server?.killed());
  after(() => rmSync(model, { recursive: true }));

  it('ends it where a rank has to read again, and is named with its tensor', async () => {
    server = SkeinProcess.real(['serve', '--model', model, '--tensor-parallel-size', '2', ...SERVE]);
    const stream = await startStream(server, 4_000);
    flipBit(path.join(model, 'model.safetensors'), TENSOR);
    process.kill(server.childPids()[1]!, 'SIGKILL');
    const error = await stream.ended;
    assert.match(error?.details ?? '', /not the bytes that were read before/);
    const { code } = await server.exited;
    assert.equal(code, EXIT_CODES.unservable.code, server.stderr);
    const told = `^skein: CORRUPT_WEIGHTS: rank \\d: ${model}/model.safetensors: .* \\(tensor ${TENSOR}\\)`;
    assert.match(server.stderr, new RegExp(told.replaceAll('.', '\\.').replaceAll('\\.*', '.*'), 'm'));
    stream.close();
  });
});
