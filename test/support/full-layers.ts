// Two vision and two decoder layers of a given shape, made and computed in float32 by test/gpu/full_layers.py, and how
// far a group of ours is from that: relative Frobenius distances of the tiles' outputs and of the decoder's residual,
// and the log-probabilities behind the prompt.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import { quantizedAtLoad, visionQuantizedAtLoad } from '../../coordinator/checkpoint/float8.js';
import type { Checkpoint } from '../../coordinator/checkpoint/model-spec.js';
import { LocalGroup, sampledTokens, type GeneratedToken, type LocalGroupOptions } from './local-group.js';
import { makeNewSequence, makeSampling } from './native-plans.js';
import { repoPath } from './paths.js';

const PYTHON_TIMEOUT_MS = 180_000;
/** Of full_layers.py: Python lacks a package. */
const PACKAGE_MISSING = 3;

interface Manifest {
  readonly numTiles: number;
  readonly tileRows: number;
  readonly hiddenSize: number;
  readonly firstPosition: number;
  readonly tokenIds: readonly number[];
}

export interface FullLayers {
  readonly folder: string;
  readonly checkpoint: Checkpoint;
  readonly manifest: Manifest;
  readonly pixels: Uint8Array;
  readonly tiles: Float32Array;
  readonly hidden: Float32Array;
  /** Of the last token. */
  readonly logits: Float32Array;
  remove(): void;
}

/**
 * A string says why it cannot be made here: no Python, no torch. SKEIN_PYTHON names another interpreter than python3.
 */
export async function makeFullLayers(
  shape: 'full' | 'small',
  device: 'cuda' | 'cpu',
): Promise<FullLayers | string> {
  const python = process.env['SKEIN_PYTHON'] ?? 'python3';
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-layers-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const script = repoPath('test', 'gpu', 'full_layers.py');
  const result = spawnSync(python, [script, folder, '--shape', shape, '--device', device], {
    encoding: 'utf8',
    timeout: PYTHON_TIMEOUT_MS,
  });
  if (result.status !== 0) {
    remove();
    if (result.status === PACKAGE_MISSING) return result.stderr.trim();
    if ((result.error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
      return `there is no ${python}`;
    throw new Error(
      `${script} failed: ${result.error?.message ?? result.stderr.trimEnd().split('\n').slice(-8).join('\n')}`,
    );
  }
  return {
    folder,
    checkpoint: await readCheckpoint(folder),
    manifest: JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as Manifest,
    pixels: readFileSync(path.join(folder, 'tiles.u8')),
    tiles: readFloats(path.join(folder, 'tiles.f32')),
    hidden: readFloats(path.join(folder, 'hidden.f32')),
    logits: readFloats(path.join(folder, 'logits.f32')),
    remove,
  };
}

function readFloats(file: string): Float32Array {
  return new Float32Array(Uint8Array.from(readFileSync(file)).buffer);
}

export interface Distances {
  readonly tiles: number;
  /** Of the whole prompt in one step. */
  readonly hidden: number;
  /** Of the same rows, the last 17 of them computed in a step of 16 rows and one of a single row. */
  readonly chunked: number;
  /** Of the last row alone, in the step of its own: how a decode step computes. */
  readonly lastRow: number;
  /** The greatest difference among the twenty best log-probabilities behind the prompt, computed either way. */
  readonly logprob: number;
}

export type FullLayersGroup = Pick<
  LocalGroupOptions,
  'device' | 'worldSize' | 'deterministic' | 'computeType' | 'visionParallel'
> & {
  /** The decoder's linears become float8 as they are loaded. */
  readonly isFloat8?: boolean;
  /** The tower's. */
  readonly isTowerFloat8?: boolean;
};

/** Loads the folder into a group of `options` and measures it. */
export async function measureFullLayers(
  layers: FullLayers,
  { isFloat8 = false, isTowerFloat8 = false, ...options }: FullLayersGroup,
): Promise<Distances> {
  const { manifest } = layers;
  const decoded = isFloat8 ? quantizedAtLoad(layers.checkpoint) : layers.checkpoint;
  const checkpoint = isTowerFloat8 ? visionQuantizedAtLoad(decoded) : decoded;
  const numTokens = manifest.tokenIds.length;
  const group = await LocalGroup.start({
    ...options,
    checkpoint,
    maxNumSequences: 16,
    maxStepTokens: 1024,
    maxModelLength: 1024,
    numTileSlots: manifest.numTiles,
    maxTilesPerStep: manifest.numTiles,
    numKvBlocks: 128,
  });
  try {
    await group.putPicture(
      0,
      Array.from({ length: manifest.numTiles }, (_, tile) => tile),
      layers.pixels,
    );
    await group.step({ encodeItems: [{ pictureId: 0, tileStart: 0, tileEnd: manifest.numTiles }] });
    const tiles = await everyRank(group, 'tiles', manifest.tileRows, layers.tiles);
    const whole = await runPrompt(group, layers, 0, [numTokens]);
    const parts = await runPrompt(group, layers, 1, [numTokens - 17, 16, 1]);
    return {
      tiles,
      hidden: relativeDistance(whole.rows, layers.hidden),
      chunked: relativeDistance(parts.rows, layers.hidden),
      lastRow: relativeDistance(
        parts.rows.subarray((numTokens - 1) * manifest.hiddenSize),
        layers.hidden.subarray((numTokens - 1) * manifest.hiddenSize),
      ),
      logprob: Math.max(
        logprobDistance(whole.next, layers.logits),
        logprobDistance(parts.next, layers.logits),
      ),
    };
  } finally {
    await group.close();
  }
}

interface PromptRun {
  /** The residual of all rows. */
  readonly rows: Float32Array;
  readonly next: GeneratedToken;
}

/** The prompt, computed in steps of these many tokens. */
async function runPrompt(
  group: LocalGroup,
  { manifest }: FullLayers,
  slot: number,
  steps: readonly number[],
): Promise<PromptRun> {
  const { hiddenSize, firstPosition } = manifest;
  const rows = new Float32Array(manifest.tokenIds.length * hiddenSize);
  const sampling = makeSampling({ numTopLogprobs: 20, returnLogprobs: true });
  let done = 0;
  let next: GeneratedToken | undefined;
  for (const count of steps) {
    const result = await group.step({
      newSequences:
        done === 0
          ? [
              makeNewSequence(slot, Uint32Array.from(manifest.tokenIds), {
                sampling,
                pictures: [{ pictureId: 0, firstPosition }],
              }),
            ]
          : [],
      newBlocks: Uint32Array.from(group.blocksFor(slot, done, done + count)),
      scheduledSlots: Uint32Array.of(slot),
      scheduledTokens: Uint32Array.of(count),
    });
    const [rank] = group.ranks;
    assert.ok(rank);
    rows.set(await rank.engine.inspect('hidden', count), done * hiddenSize);
    done += count;
    [next] = sampledTokens(result);
  }
  assert.ok(next);
  return { rows, next };
}

/** NaN where a token is no number or none came. */
function logprobDistance({ top }: GeneratedToken, logits: Float32Array): number {
  const most = Math.max(...logits);
  const log = most + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0));
  const distances = top.map(({ tokenId, logprob }) => Math.abs(logprob - (logits[tokenId]! - log)));
  return distances.length === 0 ? Number.NaN : Math.max(...distances);
}

/** The worst of all ranks. */
async function everyRank(
  group: LocalGroup,
  what: 'hidden' | 'tiles',
  rows: number,
  expected: Float32Array,
): Promise<number> {
  const outputs = await Promise.all(group.ranks.map(({ engine }) => engine.inspect(what, rows)));
  return Math.max(...outputs.map((output) => relativeDistance(output, expected)));
}

/** |actual - expected| / |expected|, Frobenius; NaN where anything is no number. */
function relativeDistance(actual: Float32Array, expected: Float32Array): number {
  assert.equal(actual.length, expected.length);
  let difference = 0;
  let size = 0;
  for (const [index, value] of expected.entries()) {
    difference += (actual[index]! - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}
