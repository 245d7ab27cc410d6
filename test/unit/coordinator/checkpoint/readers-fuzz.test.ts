// Goal: whatever lies in a checkpoint's folder, its readers refuse it with an error that is about the file, or take it:
// safetensors headers, pickles, config.json, each with a few bytes or values changed. Drawn by fast-check.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { readSafetensorsHeader } from '../../../../coordinator/checkpoint/safetensors.js';
import { readPickle } from '../../../../coordinator/checkpoint/torch/pickle.js';
import { goldenPath } from '../../../support/paths.js';
import { copyOf, useScratchFolder } from './checkpoint-copies.js';

const CODES = new Set(['CORRUPT_WEIGHTS', 'UNSUPPORTED_MODEL', 'INVALID_REQUEST']);

async function isRefusedOrTaken(read: () => Promise<unknown>): Promise<void> {
  try {
    await read();
  } catch (error) {
    assert.ok(error instanceof AppError && CODES.has(error.code), String((error as Error).stack));
  }
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));

/** `whole` with some of its bytes changed, and perhaps cut. */
function damaged(whole: Buffer): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
  return fc
    .tuple(fc.array(change, { maxLength: 6 }), fc.option(fc.nat(whole.length)))
    .map(([changes, end]) => {
      const copy = Buffer.from(whole);
      for (const [at, byte] of changes) copy[at] = byte;
      return copy.subarray(0, end ?? copy.length);
    });
}

describe('readers of checkpoints under any bytes', function () {
  this.timeout(120_000);
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-fuzz-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('safetensors headers', async () => {
    const text = JSON.stringify({
      a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
      b: { dtype: 'BF16', shape: [4], data_offsets: [24, 32] },
    });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const whole = Buffer.concat([length, Buffer.from(text), Buffer.alloc(32)]);
    const file = path.join(folder, 'model.safetensors');
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged(whole), bytes), async (content) => {
        writeFileSync(file, content);
        await isRefusedOrTaken(() => readSafetensorsHeader(file));
      }),
      { numRuns: 3_000 },
    );
  });

  it('pickles', async () => {
    // {'a': (1, 'b'), 'c': [True, None]} in protocol 2.
    const whole = Buffer.from(
      '80027d71002858010000006171014b01580100000062710286710358010000006371045d710528884e65752e',
      'hex',
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged(whole), bytes), (content) =>
        isRefusedOrTaken(async () => readPickle(content, 'a pickle')),
      ),
      { numRuns: 20_000 },
    );
  });

  describe('config.json', () => {
    useScratchFolder();
    it('with any of its values replaced', async () => {
      const copy = await copyOf('tiny-6b-vit');
      const whole = JSON.parse(readFileSync(goldenPath('tiny-6b-vit', 'config.json'), 'utf8')) as object;
      const value = fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.constantFrom(-1, 0, 1e300, 2 ** 40, ''));
      const places = [...pathsOf(whole)];
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.constantFrom(...places), value), { minLength: 1, maxLength: 3 }),
          async (changes) => {
            const config = structuredClone(whole);
            for (const [place, changed] of changes) put(config, place, changed);
            writeFileSync(path.join(copy, 'config.json'), JSON.stringify(config));
            await isRefusedOrTaken(() => readCheckpoint(copy));
          },
        ),
        { numRuns: 600 },
      );
    });
  });
});

function* pathsOf(value: unknown, before: readonly string[] = []): Generator<readonly string[]> {
  if (before.length > 0) yield before;
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) yield* pathsOf(inner, [...before, key]);
}

function put(root: object, place: readonly string[], value: unknown): void {
  let at = root as Record<string, unknown>;
  for (const key of place.slice(0, -1)) {
    const inner = at[key];
    if (typeof inner !== 'object' || inner === null) return;
    at = inner as Record<string, unknown>;
  }
  at[place.at(-1)!] = value;
}
