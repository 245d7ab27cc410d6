// One turn of bench/pictures: the phases of each picture with the code of a build, as JSON on stdout. Arguments: the
// build's folder, and the pictures' files by name as JSON.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import type * as ThreadPoolModule from '../../coordinator/encoding/thread-pool.js';
import type * as CountTiles from '../../coordinator/vision/count-tiles.js';
import type * as DecodePicture from '../../coordinator/vision/decode-picture.js';
import type * as OrientationModule from '../../coordinator/vision/orientation.js';
import type * as ProcessPicture from '../../coordinator/vision/process-picture.js';
import type * as SniffPicture from '../../coordinator/vision/sniff-picture.js';
import type { PhaseSamples } from './main.js';

const [folder = '', list = '{}'] = process.argv.slice(2);
const files = JSON.parse(list) as Record<string, string>;

const NUM_AT_ONCE = 8;
const REPETITIONS = 3;
const LABEL = 'pictures[0]';
const SETTINGS = {
  tiling: {
    tileSize: 448,
    minTiles: 1,
    maxTiles: 12,
    useThumbnail: true,
    isDynamic: true,
    tokensPerTile: 256,
  },
  exifRotation: true,
};

async function load<T>(module: string): Promise<T> {
  return (await import(pathToFileURL(path.join(folder, 'dist', 'coordinator', module)).href)) as T;
}

const samples: PhaseSamples = {};

async function timed<T>(name: string, phase: string, work: () => T | Promise<T>): Promise<T> {
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  const result = await work();
  const wallMs = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  const each = ((samples[name] ??= {})[phase] ??= { wallMs: [], cpuMs: [] });
  each.wallMs.push(wallMs);
  each.cpuMs.push((user + system) / 1000);
  return result;
}

const { countTiles } = await load<typeof CountTiles>('vision/count-tiles.js');
const { decodePicture } = await load<typeof DecodePicture>('vision/decode-picture.js');
const { orient, readOrientation } = await load<typeof OrientationModule>('vision/orientation.js');
const { tilePicture } = await load<typeof ProcessPicture>('vision/process-picture.js');
const { sniffPicture } = await load<typeof SniffPicture>('vision/sniff-picture.js');
const { ThreadPool } = await load<typeof ThreadPoolModule>('encoding/thread-pool.js');

// As the encoding threads have it.
sharp.concurrency(1);
sharp.cache(false);

async function phases(name: string, encoded: Uint8Array): Promise<void> {
  await timed(name, 'header', () => countTiles(encoded, LABEL, SETTINGS));
  const stored = await timed(name, 'decode', () => decodePicture(encoded, LABEL));
  const orientation = readOrientation(encoded, sniffPicture(encoded, LABEL).format);
  const image = orientation === 1 ? stored : await timed(name, 'turn', () => orient(stored, orientation));
  await timed(name, 'tiles', () => tilePicture(image, SETTINGS.tiling));
  // What the picture is known by; taken while libvips decodes.
  await timed(name, 'hash', () => createHash('sha256').update(encoded).digest());
}

for (const [name, file] of Object.entries(files)) {
  const encoded = readFileSync(file);
  await phases(name, encoded);
  delete samples[name];
  for (let repetition = 0; repetition < REPETITIONS; repetition++) await phases(name, encoded);
}

const pool = new ThreadPool({
  numThreads: Math.min(availableParallelism(), 4),
  settings: { text: null, pictures: SETTINGS },
});
const { signal } = new AbortController();
for (const [name, file] of Object.entries(files)) {
  const encoded = readFileSync(file);
  const atOnce = () =>
    Promise.all(
      Array.from({ length: NUM_AT_ONCE }, () => pool.run({ kind: 'picture', encoded, label: LABEL }, signal)),
    );
  await atOnce();
  await timed(name, `${NUM_AT_ONCE} at once`, atOnce);
}
await pool.close();
process.stdout.write(`${JSON.stringify(samples)}\n`);
