// How fast a served model's weights come from real files: writes shards by a seed, loads them through `skein serve`
// with the page cache dropped and warm, and reads the same files with dd, through the cache and past it, in the same
// run. Phases are those that ranks report.
//
//   node dist/bench/loading/main.js --output FILE [--layers 16] [--vision-layers 2] [--folder DIR] [--caches cold,warm]
//     [-- SERVE FLAGS]
//   node dist/bench/loading/main.js --device cuda --layers 64 --vision-layers 45 ...      (31 GB)
//
// --caches warm is for a folder in memory, which is a page cache that cannot be dropped.
// Without --folder the shards are written below the system's temporary folder and removed at the end; with it they
// stay, and are taken as they are where they are there already.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { SkeinProcess } from '../../test/support/skein-process.js';
import { currentCommit, describeMachine } from '../machine.js';
import { median, rounded } from '../statistics.js';
import { writeReport } from '../write-report.js';
import { writeCheckpoint } from './write-checkpoint.js';

const START_TIMEOUT_MS = 600_000;
const STOP_TIMEOUT_MS = 30_000;
const BLOCK_BYTES = 8 * 2 ** 20;

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'skywork-r1v3-38b-awq' },
    layers: { type: 'string', default: '16' },
    'vision-layers': { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    device: { type: 'string', default: 'cpu' },
    'tensor-parallel-size': { type: 'string', default: '1' },
    runs: { type: 'string', default: '2' },
    readers: { type: 'string', default: '4' },
    caches: { type: 'string', default: 'cold,warm' },
    folder: { type: 'string' },
    output: { type: 'string' },
  },
});

type Cache = 'cold' | 'warm';

function parseCaches(list: string): Cache[] {
  return list.split(',').map((cache) => {
    if (cache !== 'cold' && cache !== 'warm') throw new Error(`--caches ${list}: cold, warm or both`);
    return cache;
  });
}
const caches = parseCaches(values.caches);

interface RankLoad {
  readonly rank: number;
  readonly readBytes: number;
  readonly loadMs: number;
  readonly openMs: number;
  readonly readMs: number;
  readonly transferMs: number;
  readonly prepareMs: number;
  readonly checksumMs: number;
}

interface ServedLoad {
  /** From the start of the process until it serves. */
  readonly readyMs: number;
  readonly gbPerSecond: number;
  readonly ranks: readonly RankLoad[];
}

function shardsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => path.join(folder, name));
}

/** GNU dd: a count of 0 with nocache drops the whole file from the page cache. */
function dropFromCache(files: readonly string[]): void {
  for (const file of files) spawnSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
}

async function prepareCache(cache: Cache, files: readonly string[]): Promise<void> {
  if (cache === 'cold') dropFromCache(files);
  else await readAll(files, 1, []);
}

/** Seconds for all files by so many dd at once, each with a part of every file. */
async function readAll(files: readonly string[], readers: number, flags: readonly string[]): Promise<number> {
  const start = performance.now();
  await Promise.all(
    Array.from({ length: readers }, async (_, reader) => {
      for (const file of files) {
        const blocks = Math.ceil(statSync(file).size / BLOCK_BYTES);
        const first = Math.floor((blocks * reader) / readers);
        const count = Math.floor((blocks * (reader + 1)) / readers) - first;
        const args = [`if=${file}`, 'of=/dev/null', `bs=${BLOCK_BYTES}`, `skip=${first}`, `count=${count}`];
        await ended('dd', [...args, ...flags]);
      }
    }),
  );
  return (performance.now() - start) / 1000;
}

function ended(command: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'ignore' });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${command} ${args.join(' ')}: exit code ${code}`));
    });
  });
}

function readRanks(log: string): RankLoad[] {
  return log
    .split('\n')
    .filter((line) => line.startsWith('{') && line.includes('"weights loaded"'))
    .map((line) => JSON.parse(line) as RankLoad)
    .map(({ rank, readBytes, loadMs, openMs, readMs, transferMs, prepareMs, checksumMs }) => ({
      ...{ rank, readBytes, loadMs, openMs, readMs, transferMs, prepareMs, checksumMs },
    }));
}

async function serveOnce(folder: string): Promise<ServedLoad> {
  const start = performance.now();
  const skein = SkeinProcess.real([
    ...['serve', '--model', folder, '--device', values.device, '--grpc-address', '127.0.0.1:0'],
    ...['--tensor-parallel-size', values['tensor-parallel-size'], '--max-model-length', '1024'],
    ...['--log-level', 'info', ...serveFlags],
  ]);
  try {
    await skein.outputMatches(/^serving .* on (\S+)/m, START_TIMEOUT_MS);
    const readyMs = Math.round(performance.now() - start);
    const ranks = readRanks(`${skein.stdout}\n${skein.stderr}`);
    if (ranks.length === 0) throw new Error('no rank has said what it loaded');
    const bytes = ranks.reduce((sum, rank) => sum + rank.readBytes, 0);
    const loadMs = Math.max(...ranks.map((rank) => rank.loadMs));
    return { readyMs, gbPerSecond: rounded(bytes / loadMs / 1e6), ranks };
  } finally {
    skein.child.kill('SIGTERM');
    const timer = setTimeout(() => skein.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await skein.exited;
    clearTimeout(timer);
  }
}

async function measure(folder: string, cache: Cache): Promise<Record<string, unknown>> {
  const files = shardsOf(folder);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  const rates: Record<string, number[]> = {};
  const add = (name: string, seconds: number): void => {
    (rates[name] ??= []).push(rounded(bytes / seconds / 1e9));
  };
  const loads: ServedLoad[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    await prepareCache(cache, files);
    add('dd', await readAll(files, 1, []));
    await prepareCache(cache, files);
    add('ddAtOnce', await readAll(files, Number(values.readers), []));
    if (cache === 'cold') add('ddDirect', await readAll(files, Number(values.readers), ['iflag=direct']));
    await prepareCache(cache, files);
    loads.push(await serveOnce(folder));
    process.stderr.write(`${cache}: ${JSON.stringify({ ...rates, load: loads.at(-1) })}\n`);
  }
  const medians = Object.fromEntries(Object.entries(rates).map(([name, all]) => [name, median(all)]));
  const load = median(loads.map(({ gbPerSecond }) => gbPerSecond));
  return {
    cache,
    bytes,
    readersGbPerSecond: medians,
    loadGbPerSecond: load,
    ofFastestReader: rounded(load / Math.max(...Object.values(medians))),
    readyMs: median(loads.map(({ readyMs }) => readyMs)),
    loads,
  };
}

const folder = values.folder ?? mkdtempSync(path.join(tmpdir(), 'skein-loading-'));
try {
  const start = performance.now();
  const isThere = existsSync(path.join(folder, 'model.safetensors.index.json'));
  if (!isThere) {
    await writeCheckpoint({
      folder,
      model: values.model,
      numLayers: Number(values.layers),
      numVisionLayers: Number(values['vision-layers']),
      seed: Number(values.seed),
    });
  }
  const writtenS = isThere ? null : rounded((performance.now() - start) / 1000);
  const results = [];
  for (const cache of caches) results.push(await measure(folder, cache));
  writeReport(
    {
      benchmark: 'loading',
      commit: currentCommit(),
      date: new Date().toISOString(),
      machine: describeMachine(),
      ...{ model: values.model, device: values.device, serveFlags, writtenS },
      layers: Number(values.layers),
      visionLayers: Number(values['vision-layers']),
      worldSize: Number(values['tensor-parallel-size']),
      readers: Number(values.readers),
      results,
    },
    values.output,
  );
} finally {
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
