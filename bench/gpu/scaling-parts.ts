// The parts of what several GPUs of one host have to show, in the order in which they run, and what their result file
// is called. Runs nothing.
import { repoPath } from '../../test/support/paths.js';
import type { AllReduceTime } from './attribution.js';
import { gpuLabel } from './run-parts.js';
import { evaluationPart, servingPart, shortPromptsPart, testPart, transformersPart } from './part-kinds.js';
import { PEER_KINDS, peerPart } from './peer-part.js';
import { lastJsonLine, PartFailure, readJson, type Part, type PartRecords, type Parts } from './part.js';

export interface ScalingSettings {
  readonly device: 'cuda' | 'cpu';
  /** GPUs that are used. */
  readonly numDevices: number;
  /** More than 1: a trial of the program on fewer GPUs than ranks. */
  readonly ranksPerDevice: number;
  readonly worldSizes: readonly number[];
  /** By the word that the parts' names have for it. */
  readonly models: Readonly<Record<string, string>>;
  /** The folder with vLLM's bench.py (peer-part.ts); null: without. */
  readonly vllm: string | null;
}

export const DEFAULT_MODELS: Readonly<Record<string, string>> = {
  bf16: 'skywork-r1v3-38b',
  awq: 'skywork-r1v3-38b-awq',
};
/**
 * So many that sixteen pictures, which the host makes ready one after the other, are all answered at once for a while.
 */
const NEW_TOKENS = '256';
/** Ranks that read each other's sums too early are wrong in some answers only: in 5 of 13, when they were. */
const GOLDEN_ROUNDS = 5;
const POWERS: readonly number[] = [1, 2, 4, 8];

/** Those asked for, or 1, 2, 4 and 8 as far as there are places for ranks. Throws for more ranks than places. */
export function chooseWorldSizes(
  asked: readonly number[] | null,
  numDevices: number,
  ranksPerDevice: number,
): readonly number[] {
  const places = numDevices * ranksPerDevice;
  if (asked === null) return POWERS.filter((size) => size <= places);
  const odd = asked.find((size) => !Number.isInteger(size) || size < 1 || size > places);
  if (odd !== undefined) {
    throw new Error(
      `world size ${odd}: there are places for 1 to ${places} ranks (${numDevices} GPUs, ${ranksPerDevice} to each)`,
    );
  }
  return asked;
}

/** The result file's name: ranks that shared a GPU are named, so that nobody takes them for more GPUs. */
export function resultName(gpu: string, { device, numDevices, ranksPerDevice }: ScalingSettings): string {
  if (device === 'cpu') return 'scaling-cpu';
  const shared = ranksPerDevice > 1 ? `-shared${ranksPerDevice}` : '';
  return `scaling-${gpuLabel(gpu)}-x${numDevices}${shared}`;
}

/** TB/s of the slowest GPU: a step waits for it. */
function memoryBandwidth(records: PartRecords): number | null {
  const result = records['ceilings']?.result as { readonly slowestReadTBps?: number } | undefined;
  return result?.slowestReadTBps ?? null;
}

function sharing({ ranksPerDevice }: ScalingSettings, worldSize: number): string[] {
  const ranks = Math.min(ranksPerDevice, worldSize);
  return ranks > 1 ? ['--ranks-per-device', String(ranks)] : [];
}

function ceilings(settings: ScalingSettings): Part {
  return ({ extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'ceilings.js'),
      ...['--devices', String(settings.numDevices), ...extra],
    ],
    limitS: 180,
    readResult: lastJsonLine,
  });
}

export interface AllReduceResult {
  /** As NCCL names itself; null where it was told to be silent. */
  readonly nccl: string | null;
  readonly results: readonly AllReduceTime[];
}

/** From what the program and NCCL print. */
export function readAllReduces(output: string, worldSizes: readonly number[]): AllReduceResult {
  const results = output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as AllReduceTime);
  const result = { nccl: /NCCL version (\S+)/.exec(output)?.[1] ?? null, results };
  if (worldSizes.some((size) => !results.some(({ world_size }) => world_size === size)))
    throw new PartFailure(result);
  return result;
}

function allReduce(settings: ScalingSettings, worldSizes: readonly number[]): Part {
  const { ranksPerDevice } = settings;
  return ({ extra }) => ({
    command: [
      repoPath('build', 'cuda', 'cuda_collective_bench'),
      ...['--world-sizes', worldSizes.join(','), '--ranks-per-device', String(ranksPerDevice), ...extra],
    ],
    // NCCL says its version, and nothing else, unless it was asked for more.
    environment: { NCCL_DEBUG: process.env['NCCL_DEBUG'] ?? 'VERSION' },
    limitS: 300,
    needsMps: ranksPerDevice > 1,
    readResult: (output) => readAllReduces(output, worldSizes),
  });
}

/** The tests of whole groups, rank r on GPU r; `rounds`: how often each golden case is asked. */
function groupTests(
  name: string,
  settings: ScalingSettings,
  worldSizes: readonly number[],
  rounds: number,
): Part {
  return testPart([name], {
    limitS: 480,
    needsMps: settings.ranksPerDevice > 1,
    environment: {
      SKEIN_GPU_DEVICES: String(settings.numDevices),
      SKEIN_GPU_WORLD_SIZES: worldSizes.join(','),
      SKEIN_GPU_ROUNDS: String(rounds),
    },
  });
}

function evaluation(settings: ScalingSettings): Part {
  const { device, worldSizes, ranksPerDevice } = settings;
  return evaluationPart(
    [
      ...['--device', device, '--dtypes', 'bfloat16', '--world-sizes', worldSizes.join(',')],
      ...sharing(settings, Math.max(...worldSizes)),
      ...['--concurrency', '32'],
    ],
    480,
    ranksPerDevice > 1,
  );
}

function serving(settings: ScalingSettings, model: string, worldSize: number): Part {
  const serveFlags = sharing(settings, worldSize);
  return servingPart({
    model,
    device: settings.device,
    flags: ['--tensor-parallel-size', String(worldSize), '--new-tokens', NEW_TOKENS],
    serveFlags,
    limitS: 300,
    needsMps: serveFlags.length > 0,
    memoryBandwidth,
  });
}

/** As in one-gpu, and as vLLM is measured. */
function servingOfShortPrompts(settings: ScalingSettings, model: string, worldSize: number): Part {
  const serveFlags = sharing(settings, worldSize);
  return shortPromptsPart({
    model,
    device: settings.device,
    flags: ['--tensor-parallel-size', String(worldSize)],
    serveFlags,
    limitS: 300,
    needsMps: serveFlags.length > 0,
    memoryBandwidth,
  });
}

/** Without MPS: what a killed client leaves its others is undefined. */
function lostWorker(settings: ScalingSettings, model: string, worldSize: number): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'lost-worker.js'),
      ...['--model', model, '--device', settings.device, '--tensor-parallel-size', String(worldSize)],
      ...sharing(settings, worldSize),
      ...['--output', file, ...extra],
    ],
    limitS: 480,
    needsMps: false,
    readResult: () => readJson(file),
  });
}

/** Of the bundled model, whose answers are its own. Without MPS, as above. */
function kills(settings: ScalingSettings, worldSize: number): Part {
  return ({ file, extra }) => ({
    command: [
      process.execPath,
      repoPath('dist', 'bench', 'gpu', 'kills.js'),
      ...['--model', repoPath('models', 'r1v-nano'), '--device', settings.device],
      ...['--tensor-parallel-size', String(worldSize), ...sharing(settings, worldSize)],
      ...['--output', file, ...extra],
    ],
    limitS: 480,
    needsMps: false,
    readResult: () => readJson(file),
  });
}

function peers({ vllm, models, worldSizes }: ScalingSettings): Parts {
  if (vllm === null) return {};
  return Object.fromEntries(
    PEER_KINDS.filter((kind) => Object.hasOwn(models, kind)).flatMap((kind) =>
      worldSizes.map((size) => [`vllm-${kind}-tp${size}`, peerPart(vllm, kind, size)]),
    ),
  );
}

export function scalingParts(settings: ScalingSettings): Parts {
  const { worldSizes } = settings;
  const several = worldSizes.filter((size) => size > 1);
  const isGpu = settings.device === 'cuda';
  const groups = isGpu && several.length > 0;
  const model = Object.values(settings.models)[0];
  const perModel = (part: (word: string, model: string, size: number) => [string, Part]) =>
    Object.fromEntries(
      Object.entries(settings.models).flatMap(([word, each]) =>
        worldSizes.map((size) => part(word, each, size)),
      ),
    );
  return {
    ...(isGpu ? { ceilings: ceilings(settings) } : {}),
    ...(groups
      ? {
          'all-reduce': allReduce(settings, several),
          golden: groupTests('golden', settings, several, GOLDEN_ROUNDS),
          'r1v-nano': groupTests('r1v-nano', settings, several, 1),
        }
      : {}),
    evaluation: evaluation(settings),
    ...perModel((word, each, size) => [`serving-${word}-tp${size}`, serving(settings, each, size)]),
    // The bundled model has too few positions for them.
    ...(isGpu
      ? perModel((word, each, size) => [
          `serving-${word}-short-prompts-tp${size}`,
          servingOfShortPrompts(settings, each, size),
        ])
      : {}),
    ...(several.length > 0 && model !== undefined
      ? {
          'lost-worker': lostWorker(settings, model, Math.max(...several)),
          kills: kills(settings, Math.max(...several)),
        }
      : {}),
    ...(isGpu ? { transformers: transformersPart(['--device-map', 'auto'], 300) } : {}),
    ...peers(settings),
  };
}
