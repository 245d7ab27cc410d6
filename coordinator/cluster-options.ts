// The flags of a cluster, shared by `run` and `serve`: what each takes, and its default. What they amount to is
// config.ts's.
import { Option, type Command } from 'commander';
import { byteSizeOption, describedParser, integerOption, numberOption } from '../common/command-line.js';
import { DEFAULT_CLUSTER_ID } from '../common/identity.js';
import {
  DEFAULT_HANG_TIMEOUT_MS,
  DEFAULT_MAX_WAITING_TOKENS,
  DEFAULT_PREFILL_PATIENCE_MS,
  DEFAULT_PRIORITY_AGEING_MS,
  DEFAULT_STEP_TIMEOUT_MS,
  MAX_NUM_SEQUENCES,
  MAX_SILENCE_MS,
  MAX_STEP_TOKENS,
  MAX_WORLD_SIZE,
  MIN_SILENCE_MS,
  WORKER_SILENCE_MS,
} from '../common/limits.js';

/** How CPU ranks meet; GPUs meet over NCCL. */
export type CollectiveChoice = 'auto' | 'shared-memory' | 'gloo';
/** fp8: plain weights become FP8 as they are loaded. */
export type QuantizationChoice = 'auto' | 'fp8';
export type ComputeTypeChoice = 'auto' | 'float32' | 'bfloat16';
/** Of keys and values; auto: the compute type. */
export type KvCacheTypeChoice = 'auto' | 'fp8';

/** When an output without a start tag begins inside the reasoning. */
export type ReasoningStartChoice = 'auto' | 'prompt' | 'always' | 'never';

/** As commander hands them over. */
export interface ClusterFlags {
  readonly model: string;
  readonly tensorParallelSize?: number;
  readonly device: 'cpu' | 'cuda';
  readonly dtype: ComputeTypeChoice;
  readonly quantization?: QuantizationChoice;
  readonly visionQuantization?: QuantizationChoice;
  readonly kvCacheDtype?: KvCacheTypeChoice;
  readonly visionParallel: 'auto' | 'tensor' | 'data';
  readonly collective: CollectiveChoice;
  readonly loadFormat: 'auto' | 'dummy';
  readonly generationConfig?: string;
  readonly reasoningStart?: ReasoningStartChoice;
  readonly maxModelLength?: number;
  readonly maxNumSequences?: number;
  readonly maxStepTokens?: number;
  readonly maxWaitingTokens?: number;
  readonly priorityAgeing?: number;
  readonly kvCacheMemory?: number;
  readonly gpuMemoryUtilization?: number;
  readonly deterministic?: true;
  readonly cudaGraphs?: boolean;
  readonly prefixCaching?: boolean;
  readonly ranksPerDevice?: number;
  readonly exifRotation?: boolean;
  readonly stepTimeout: number;
  readonly maxDecodeSlowdown?: number;
  readonly prefillPatience?: number;
  readonly workerSilence?: number;
  readonly hangTimeout?: number;
  readonly encodingThreads?: number;
  readonly requestMemory?: number;
  readonly pictureMemory?: number;
  readonly workers?: readonly string[];
  readonly clusterAddress?: string;
  readonly clusterId?: string;
  readonly logLevel?: string;
}

/** A GPU takes a whole picture's prompt in one step, and hardly more time for many sequences than for one. */
export const DEFAULT_SIZES = {
  cpu: { maxNumSequences: 16, maxStepTokens: 512 },
  cuda: { maxNumSequences: 64, maxStepTokens: 2048 },
} as const;
const MIN_GPU_MEMORY_UTILIZATION = 0.1;
const MIN_DECODE_SLOWDOWN = 1.1;
export const DEFAULT_GPU_MEMORY_UTILIZATION = 0.9;

const boundedSlowdown = numberOption(MIN_DECODE_SLOWDOWN, 100, ', or 0');
const slowdownOption = describedParser(boundedSlowdown.expects, (value) =>
  value.trim() === '0' ? Infinity : boundedSlowdown(value),
);

const patienceOption = describedParser('integer of 0 to 3600000', (value) => {
  const ms = integerOption(0, 3_600_000)(value);
  return ms === 0 ? Infinity : ms;
});

function autoOrFp8(flag: string, description: string): Option {
  return new Option(flag, description).choices(['auto', 'fp8']).default('auto');
}

export function quantizationOption(): Option {
  return autoOrFp8(
    '--quantization <format>',
    'fp8: plain weights of the decoder become FP8 as they are loaded, with a scale per output channel; ' +
      'auto: as the checkpoint has them',
  );
}

export function visionQuantizationOption(): Option {
  return autoOrFp8(
    '--vision-quantization <format>',
    "fp8: weights of the vision tower's layers become FP8 as they are loaded, with a scale per output channel, " +
      'whatever the decoder is in; auto: as the checkpoint has them',
  );
}

export function kvCacheDtypeOption(): Option {
  return autoOrFp8(
    '--kv-cache-dtype <type>',
    'fp8: keys and values are kept as float8 e4m3 with a scale for each token and KV head, in about half the memory ' +
      'of bfloat16; auto: as the ranks compute',
  );
}

export function addClusterOptions(command: Command): Command {
  return command
    .requiredOption(
      '--model <folder>',
      "checkpoint folder in Hugging Face form; with --load-format dummy a known model's name, too",
    )
    .option(
      '--tensor-parallel-size <n>',
      `ranks, 1 to ${MAX_WORLD_SIZE} (default: 1, or the number of --workers)`,
      integerOption(1, MAX_WORLD_SIZE),
    )
    .addOption(
      new Option('--device <device>', 'where the ranks compute').choices(['cpu', 'cuda']).default('cpu'),
    )
    .addOption(
      new Option('--dtype <type>', "auto: the checkpoint's; f16 becomes bfloat16")
        .choices(['auto', 'float32', 'bfloat16'])
        .default('auto'),
    )
    .addOption(quantizationOption())
    .addOption(visionQuantizationOption())
    .addOption(kvCacheDtypeOption())
    .addOption(
      new Option('--vision-parallel <mode>', 'how the vision tower is held')
        .choices(['auto', 'tensor', 'data'])
        .default('auto'),
    )
    .addOption(
      new Option('--collective <kind>', 'how CPU ranks meet')
        .choices(['auto', 'shared-memory', 'gloo'])
        .default('auto'),
    )
    .addOption(
      new Option('--load-format <format>', 'dummy: seeded random weights')
        .choices(['auto', 'dummy'])
        .default('auto'),
    )
    .option(
      '--generation-config <source>',
      "defaults of absent sampling fields: auto is the checkpoint's generation_config.json, none the neutral ones (greedy), " +
        'anything else a folder with such a file',
      'auto',
    )
    .addOption(
      new Option(
        '--reasoning-start <rule>',
        'when an output without <think> begins inside the reasoning. prompt: where the prompt ends in an open <think>; ' +
          'always; never; auto: as prompt, and always for models known to reason where the prompt has neither tag',
      )
        .choices(['auto', 'prompt', 'always', 'never'])
        .default('auto'),
    )
    .option('--max-model-length <tokens>', 'prompt and answer together', integerOption(1, 2 ** 24))
    .option(
      '--max-num-sequences <n>',
      `sequences that run at once (default: ${DEFAULT_SIZES.cpu.maxNumSequences}, on GPUs ${DEFAULT_SIZES.cuda.maxNumSequences})`,
      integerOption(1, MAX_NUM_SEQUENCES),
    )
    .option(
      '--max-step-tokens <n>',
      `tokens computed in one step (default: ${DEFAULT_SIZES.cpu.maxStepTokens}, on GPUs ${DEFAULT_SIZES.cuda.maxStepTokens})`,
      integerOption(1, MAX_STEP_TOKENS),
    )
    .option(
      '--max-decode-slowdown <times>',
      'how many times as long as alone a token may take because prompts are computed meanwhile (default: 0, as long ' +
        'as it takes)',
      slowdownOption,
    )
    .option(
      '--prefill-patience <milliseconds>',
      'where first tokens are waited for longer, --max-decode-slowdown grows in proportion (default: ' +
        `${DEFAULT_PREFILL_PATIENCE_MS}; 0: never, so that prompts that come faster wait until they are refused)`,
      patienceOption,
    )
    .option(
      '--max-waiting-tokens <n>',
      `tokens of the prompts that wait; beyond it requests are refused (default: ${DEFAULT_MAX_WAITING_TOKENS})`,
      integerOption(1, 2 ** 31),
    )
    .option(
      '--priority-ageing <seconds>',
      `a request that waits so long goes as if its priority were better by 1 (default: ${DEFAULT_PRIORITY_AGEING_MS / 1000})`,
      integerOption(1, 86_400),
    )
    .option('--kv-cache-memory <bytes>', 'KV cache of a rank, e.g. 512M or 4G', byteSizeOption)
    .option(
      '--gpu-memory-utilization <share>',
      "of a GPU's memory, what its ranks may take together, 0.1 to 1",
      numberOption(MIN_GPU_MEMORY_UTILIZATION, 1),
      DEFAULT_GPU_MEMORY_UTILIZATION,
    )
    .option('--deterministic', 'on GPUs: the same bits whatever else runs; slower (CPUs always compute so)')
    .option('--no-cuda-graphs', 'on GPUs: run decode steps kernel by kernel; slower, for finding faults')
    .option('--no-prefix-caching', 'compute every prompt anew, whatever an earlier one has in common with it')
    .option(
      '--ranks-per-device <n>',
      'ranks started here that share a GPU, for tests and small machines; slower (default: 1)',
      integerOption(1, MAX_WORLD_SIZE),
    )
    .option('--no-exif-rotation', "pictures as stored, not upright as EXIF asks; as upstream's scripts do")
    .option(
      '--step-timeout <seconds>',
      'a step that takes longer ends the epoch',
      integerOption(1, 86_400),
      DEFAULT_STEP_TIMEOUT_MS / 1000,
    )
    .option(
      '--hang-timeout <seconds>',
      'a rank that does not answer or does not move for so long is given up; slow ones move',
      integerOption(1, 86_400),
      DEFAULT_HANG_TIMEOUT_MS / 1000,
    )
    .option(
      '--worker-silence <seconds>',
      'a registered worker that says nothing for so long is lost',
      integerOption(MIN_SILENCE_MS / 1000, MAX_SILENCE_MS / 1000),
      WORKER_SILENCE_MS / 1000,
    )
    .option(
      '--encoding-threads <n>',
      'threads that encode prompts and decode pictures (default: the cores, 4 at most)',
      integerOption(1, 64),
    )
    .option(
      '--request-memory <bytes>',
      'requests in the server, pictures as they came; beyond it they are refused (default: 512M)',
      byteSizeOption,
    )
    .option(
      '--picture-memory <bytes>',
      'decoded pictures on their way to the ranks; beyond it they wait (default: 512M)',
      byteSizeOption,
    )
    .option(
      '--cluster-id <id>',
      `name of the cluster; workers of another are refused (default: ${DEFAULT_CLUSTER_ID})`,
    )
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent');
}
