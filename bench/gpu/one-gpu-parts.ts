// The parts of what one GPU has to show, in the order in which they run. Runs nothing.
import { repoPath } from '../../test/support/paths.js';
import { checkerPart } from './checker-part.js';
import {
  evaluationPart,
  goodputPart,
  loadingPart,
  mixedPart,
  rowsPart,
  servingPart,
  shortPromptsPart,
  testPart,
  transformersPart,
} from './part-kinds.js';
import type { Part, PartRecords, Parts } from './part.js';
import { PEER_KINDS, peerPart } from './peer-part.js';
import { casesOf, rowParts, TABLE_MODELS, trialModels, type TableModel } from './table-rows.js';

const MODEL = 'skywork-r1v3-38b';
const FP8 = ['--quantization', 'fp8'];
const FP8_TOWER = ['--vision-quantization', 'fp8'];
const FP8_CACHE = ['--kv-cache-dtype', 'fp8'];

/** TB/s as measured by the part `transformers`. */
function memoryBandwidth(records: PartRecords): number | null {
  const result = records['transformers']?.result as { ceilings?: { readBandwidthTBps?: number } } | undefined;
  return result?.ceilings?.readBandwidthTBps ?? null;
}

function serving(model: string, serveFlags: readonly string[] = []): Part {
  return servingPart({ model, serveFlags, limitS: 240, needsMps: false, memoryBandwidth });
}

function servingOfShortPrompts(model: string, serveFlags: readonly string[] = []): Part {
  return shortPromptsPart({ model, serveFlags, limitS: 240, needsMps: false, memoryBandwidth });
}

function servingOfTwoRanks(model: string): Part {
  return servingPart({
    model,
    flags: ['--tensor-parallel-size', '2', '--greedy-only', '--repetitions', '1', '--batches', '1'],
    serveFlags: ['--ranks-per-device', '2'],
    limitS: 300,
    needsMps: true,
    memoryBandwidth,
  });
}

/** The same prompts with the cache and without, and prompts that share nothing. */
function goodputParts(word: string, model: string, serveFlags: readonly string[] = []): Parts {
  const limitS = 540;
  const flags = ['--prefix-tokens', '0', '--own-tokens', '1024'];
  const noCache = [...serveFlags, '--no-prefix-caching'];
  return {
    [`goodput-${word}`]: goodputPart({ model, serveFlags, limitS }),
    [`goodput-${word}-no-cache`]: goodputPart({ model, serveFlags: noCache, limitS }),
    [`goodput-${word}-unique`]: goodputPart({ model, flags, serveFlags, limitS }),
  };
}

function evaluation(worldSizes: string, flags: readonly string[] = []): Part {
  return evaluationPart(
    [
      ...['--device', 'cuda', '--dtypes', 'bfloat16', '--world-sizes', worldSizes],
      ...['--ranks-per-device', '4', '--concurrency', '32', ...flags],
    ],
    240,
    true,
  );
}

const ROWS_LIMIT_S = 150;

/** Two starts of the service for each kind of weights: how far a figure is from itself. */
function tableParts(models: readonly TableModel[], device: 'cuda' | 'cpu'): Parts {
  return Object.fromEntries(
    models.flatMap((each) => {
      const { model, serveFlags } = each;
      const flags = device === 'cpu' ? ['--load-format', 'auto'] : [];
      const options = {
        ...{ model, flags, serveFlags, device, limitS: ROWS_LIMIT_S, needsMps: false },
        memoryBandwidth,
      };
      const part = rowsPart(options, casesOf(each.rows));
      return rowParts(each).map((name) => [name, part]);
    }),
  );
}

const PARTS: Parts = {
  transformers: transformersPart(['--rows'], 240),
  // Without MPS: what a killed client leaves its others is undefined.
  'tests-lost-rank': testPart(['lost-rank'], { limitS: 60, needsMps: false }),
  tests: testPart(['full-layers', 'native-cuda', 'r1v-nano'], { limitS: 240, needsMps: true }),
  'tests-golden': testPart(['golden'], { limitS: 300, needsMps: true }),
  kernels: ({ extra }) => ({
    command: [repoPath('build', 'cuda', 'cuda_kernel_bench'), ...extra],
    limitS: 150,
    readResult: (output) => output.split('\n').filter((line) => line.trim() !== ''),
  }),
  'loading-awq': loadingPart({ model: `${MODEL}-awq`, layers: 64, visionLayers: 45, limitS: 570 }),
  'serving-bf16': serving(MODEL),
  'serving-awq': serving(`${MODEL}-awq`),
  'serving-bf16-short-prompts': servingOfShortPrompts(MODEL),
  'serving-awq-short-prompts': servingOfShortPrompts(`${MODEL}-awq`),
  'serving-fp8': serving(MODEL, FP8),
  'serving-fp8-short-prompts': servingOfShortPrompts(MODEL, FP8),
  'serving-fp8-tower': serving(MODEL, [...FP8, ...FP8_TOWER]),
  'serving-awq-kv-fp8': serving(`${MODEL}-awq`, FP8_CACHE),
  'serving-bf16-ranks2': servingOfTwoRanks(MODEL),
  'serving-awq-ranks2': servingOfTwoRanks(`${MODEL}-awq`),
  'mixed-bf16': mixedPart(MODEL, 240),
  'mixed-awq': mixedPart(`${MODEL}-awq`, 240),
  ...goodputParts('bf16', MODEL),
  ...goodputParts('awq', `${MODEL}-awq`),
  ...goodputParts('fp8', MODEL, FP8),
  evaluation: evaluation('1,2,4'),
  'evaluation-kv-fp8': evaluation('1,2', FP8_CACHE),
  memcheck: checkerPart({ tool: 'memcheck', shards: 8, limitS: 180 }),
  // More shards gain nothing, since their time goes to the GPU, and run out of its memory, of which each has much.
  racecheck: checkerPart({
    tool: 'racecheck',
    shards: 8,
    limitS: 420,
    environment: { SKEIN_UNDER_CHECKER: '1' },
  }),
};

export interface OneGpuSettings {
  readonly device: 'cuda' | 'cpu';
  /** The folder with vLLM's bench.py (peer-part.ts); null: without. */
  readonly vllm: string | null;
}

/** Whose rows the table has. */
export function tableModels({ device }: OneGpuSettings): readonly TableModel[] {
  return device === 'cuda' ? TABLE_MODELS : trialModels(repoPath('models', 'r1v-nano'));
}

/** On processors there are only the rows of the bundled model: a trial. */
export function oneGpuParts(settings: OneGpuSettings): Parts {
  const { device, vllm } = settings;
  const rows = tableParts(tableModels(settings), device);
  if (device === 'cpu') return rows;
  const peers =
    vllm === null ? [] : PEER_KINDS.map((kind): [string, Part] => [`vllm-${kind}`, peerPart(vllm, kind, 1)]);
  return { ...PARTS, ...rows, ...Object.fromEntries(peers) };
}
