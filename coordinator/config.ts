// The settings of a cluster, as flags of `run` and `serve`: declared once, parsed and checked once, frozen. Whether a
// number suits the model is checked where the model is known.
import { Option, type Command } from 'commander';
import { byteSizeOption, integerOption, shareOption } from '../common/command-line.js';
import { AppError } from '../common/errors.js';
import { checkAddress } from '../common/grpc-server.js';
import { checkClusterId, DEFAULT_CLUSTER_ID } from '../common/identity.js';
import {
  DEFAULT_HANG_TIMEOUT_MS,
  DEFAULT_PICTURE_MEMORY_BYTES,
  DEFAULT_REQUEST_MEMORY_BYTES,
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
/** fp8: plain weights of the decoder become FP8 as they are loaded. */
export type QuantizationChoice = 'auto' | 'fp8';
export type ComputeTypeChoice = 'auto' | 'float32' | 'bfloat16';

/** When an output without a start tag begins inside the reasoning. */
export type ReasoningStartChoice = 'auto' | 'prompt' | 'always' | 'never';

export interface ClusterConfig {
  readonly model: string;
  readonly tensorParallelSize: number;
  readonly device: 'cpu' | 'cuda';
  readonly dtype: ComputeTypeChoice;
  readonly quantization: QuantizationChoice;
  readonly visionParallel: 'auto' | 'tensor' | 'data';
  readonly collective: CollectiveChoice;
  readonly loadFormat: 'auto' | 'dummy';
  /** Where the defaults of absent sampling fields come from: auto (the checkpoint), none, or a folder. */
  readonly generationConfig: string;
  readonly reasoningStart: ReasoningStartChoice;
  /** Null: the model's own, at most DEFAULT_MAX_MODEL_LENGTH. */
  readonly maxModelLength: number | null;
  readonly maxNumSequences: number;
  readonly maxStepTokens: number;
  /** Bytes a rank; null: what is useful and free. */
  readonly kvCacheBytes: number | null;
  /** Of a GPU's whole memory, what its ranks may take together. */
  readonly gpuMemoryUtilization: number;
  /** GPUs only: the bits of an answer do not depend on what else runs. CPUs always compute so. */
  readonly deterministic: boolean;
  /** GPUs only: decode steps are recorded once and replayed. */
  readonly cudaGraphs: boolean;
  readonly prefixCaching: boolean;
  /** Local ranks that share a GPU. */
  readonly ranksPerDevice: number;
  /** Pictures are turned upright as their EXIF data asks. */
  readonly exifRotation: boolean;
  readonly stepTimeoutMs: number;
  /** A worker that says nothing for so long is lost. */
  readonly workerSilenceMs: number;
  /** Of a rank that does not answer or does not move; it is given up. */
  readonly hangTimeoutMs: number;
  /** Threads that encode prompts and decode pictures; null: as many as there are cores, 4 at most. */
  readonly encodingThreads: number | null;
  /** Requests in the server, pictures as they came. */
  readonly requestMemoryBytes: number;
  /** Decoded pictures on their way to the ranks. */
  readonly pictureMemoryBytes: number;
  /** Workers that run elsewhere, in rank order; null: started here, or registered at clusterAddress. */
  readonly workers: readonly string[] | null;
  /** Where workers of other hosts register; null: none are awaited. */
  readonly clusterAddress: string | null;
  /** Of the deployment: workers of another are refused. */
  readonly clusterId: string;
  readonly logLevel: string | null;
}

interface ClusterFlags {
  readonly model: string;
  readonly tensorParallelSize?: number;
  readonly device: 'cpu' | 'cuda';
  readonly dtype: ComputeTypeChoice;
  readonly quantization?: QuantizationChoice;
  readonly visionParallel: 'auto' | 'tensor' | 'data';
  readonly collective: CollectiveChoice;
  readonly loadFormat: 'auto' | 'dummy';
  readonly generationConfig?: string;
  readonly reasoningStart?: ReasoningStartChoice;
  readonly maxModelLength?: number;
  readonly maxNumSequences?: number;
  readonly maxStepTokens?: number;
  readonly kvCacheMemory?: number;
  readonly gpuMemoryUtilization?: number;
  readonly deterministic?: true;
  readonly cudaGraphs?: boolean;
  readonly prefixCaching?: boolean;
  readonly ranksPerDevice?: number;
  readonly exifRotation?: boolean;
  readonly stepTimeout: number;
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
const DEFAULT_GPU_MEMORY_UTILIZATION = 0.9;

export function quantizationOption(): Option {
  return new Option(
    '--quantization <format>',
    'fp8: plain weights of the decoder become FP8 as they are loaded, with a scale per output channel; ' +
      'auto: as the checkpoint has them',
  )
    .choices(['auto', 'fp8'])
    .default('auto');
}

export function addClusterOptions(command: Command): Command {
  return command
    .requiredOption('--model <folder>', 'checkpoint folder in Hugging Face form')
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
    .option('--kv-cache-memory <bytes>', 'KV cache of a rank, e.g. 512M or 4G', byteSizeOption)
    .option(
      '--gpu-memory-utilization <share>',
      "of a GPU's memory, what its ranks may take together, 0.1 to 1",
      shareOption(MIN_GPU_MEMORY_UTILIZATION),
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

export function toClusterConfig(flags: ClusterFlags): ClusterConfig {
  const workers = flags.workers?.map((address) => checkAddress(address, '--workers')) ?? null;
  checkRanksPerDevice(flags);
  const sizes = DEFAULT_SIZES[flags.device];
  const maxNumSequences = flags.maxNumSequences ?? sizes.maxNumSequences;
  return Object.freeze({
    model: flags.model,
    tensorParallelSize: flags.tensorParallelSize ?? workers?.length ?? 1,
    device: flags.device,
    dtype: flags.dtype,
    quantization: flags.quantization ?? 'auto',
    visionParallel: flags.visionParallel,
    collective: flags.collective,
    loadFormat: flags.loadFormat,
    generationConfig: flags.generationConfig ?? 'auto',
    reasoningStart: flags.reasoningStart ?? 'auto',
    maxModelLength: flags.maxModelLength ?? null,
    maxNumSequences,
    maxStepTokens: Math.max(flags.maxStepTokens ?? sizes.maxStepTokens, maxNumSequences),
    kvCacheBytes: flags.kvCacheMemory ?? null,
    gpuMemoryUtilization: flags.gpuMemoryUtilization ?? DEFAULT_GPU_MEMORY_UTILIZATION,
    deterministic: flags.deterministic === true,
    cudaGraphs: flags.cudaGraphs ?? true,
    prefixCaching: flags.prefixCaching ?? true,
    ranksPerDevice: flags.ranksPerDevice ?? 1,
    exifRotation: flags.exifRotation ?? true,
    stepTimeoutMs: flags.stepTimeout * 1000,
    workerSilenceMs: flags.workerSilence === undefined ? WORKER_SILENCE_MS : flags.workerSilence * 1000,
    hangTimeoutMs: flags.hangTimeout === undefined ? DEFAULT_HANG_TIMEOUT_MS : flags.hangTimeout * 1000,
    encodingThreads: flags.encodingThreads ?? null,
    requestMemoryBytes: flags.requestMemory ?? DEFAULT_REQUEST_MEMORY_BYTES,
    pictureMemoryBytes: flags.pictureMemory ?? DEFAULT_PICTURE_MEMORY_BYTES,
    workers,
    clusterAddress:
      flags.clusterAddress === undefined ? null : checkAddress(flags.clusterAddress, '--cluster-address'),
    clusterId: checkClusterId(flags.clusterId ?? DEFAULT_CLUSTER_ID),
    logLevel: flags.logLevel ?? null,
  });
}

function checkRanksPerDevice({ ranksPerDevice, device, workers, clusterAddress }: ClusterFlags): void {
  if (ranksPerDevice === undefined) return;
  const reason =
    workers !== undefined || clusterAddress !== undefined
      ? 'workers that are started elsewhere are given their devices there (skein worker --device)'
      : device === 'cpu'
        ? 'the ranks of a CPU need no devices; it goes with --device cuda'
        : null;
  if (reason === null) return;
  throw new AppError('INVALID_REQUEST', `--ranks-per-device: ${reason}`, {
    details: { param: 'ranks-per-device' },
  });
}
