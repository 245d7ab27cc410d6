// The settings of a cluster, checked once, frozen; as flags they are cluster-options.ts's. Whether a number suits the
// model is checked where the model is known.
import { AppError } from '../common/errors.js';
import { checkAddress } from '../common/grpc-server.js';
import { checkClusterId, DEFAULT_CLUSTER_ID } from '../common/identity.js';
import {
  DEFAULT_HANG_TIMEOUT_MS,
  DEFAULT_MAX_WAITING_TOKENS,
  DEFAULT_PICTURE_MEMORY_BYTES,
  DEFAULT_PREFILL_PATIENCE_MS,
  DEFAULT_PRIORITY_AGEING_MS,
  DEFAULT_REQUEST_MEMORY_BYTES,
  WORKER_SILENCE_MS,
} from '../common/limits.js';
import {
  DEFAULT_GPU_MEMORY_UTILIZATION,
  DEFAULT_SIZES,
  type ClusterFlags,
  type CollectiveChoice,
  type ComputeTypeChoice,
  type KvCacheTypeChoice,
  type QuantizationChoice,
  type ReasoningStartChoice,
} from './cluster-options.js';

export interface ClusterConfig {
  readonly model: string;
  readonly tensorParallelSize: number;
  readonly device: 'cpu' | 'cuda';
  readonly dtype: ComputeTypeChoice;
  readonly quantization: QuantizationChoice;
  /** Of the vision tower. */
  readonly visionQuantization: QuantizationChoice;
  readonly kvCacheDtype: KvCacheTypeChoice;
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
  /** Tokens of the prompts that wait; more are refused. */
  readonly maxWaitingTokens: number;
  /** Who waits so long goes as if its priority were better by 1. */
  readonly priorityAgeingMs: number;
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
  /** How many times as long a token may take for the prompts computed meanwhile; Infinity: as long as it takes. */
  readonly maxDecodeSlowdown: number;
  /** Where first tokens are waited for longer, that grows in proportion; Infinity: never. */
  readonly prefillPatienceMs: number;
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

export function toClusterConfig(flags: ClusterFlags): ClusterConfig {
  const workers = flags.workers?.map((address) => checkAddress(address, '--workers')) ?? null;
  checkWorkers(flags);
  checkRanksPerDevice(flags);
  const sizes = DEFAULT_SIZES[flags.device];
  const maxNumSequences = flags.maxNumSequences ?? sizes.maxNumSequences;
  return Object.freeze({
    model: flags.model,
    tensorParallelSize: flags.tensorParallelSize ?? workers?.length ?? 1,
    device: flags.device,
    dtype: flags.dtype,
    quantization: flags.quantization ?? 'auto',
    visionQuantization: flags.visionQuantization ?? 'auto',
    kvCacheDtype: flags.kvCacheDtype ?? 'auto',
    visionParallel: flags.visionParallel,
    collective: flags.collective,
    loadFormat: flags.loadFormat,
    generationConfig: flags.generationConfig ?? 'auto',
    reasoningStart: flags.reasoningStart ?? 'auto',
    maxModelLength: flags.maxModelLength ?? null,
    maxNumSequences,
    maxStepTokens: Math.max(flags.maxStepTokens ?? sizes.maxStepTokens, maxNumSequences),
    maxWaitingTokens: flags.maxWaitingTokens ?? DEFAULT_MAX_WAITING_TOKENS,
    priorityAgeingMs:
      flags.priorityAgeing === undefined ? DEFAULT_PRIORITY_AGEING_MS : flags.priorityAgeing * 1000,
    kvCacheBytes: flags.kvCacheMemory ?? null,
    gpuMemoryUtilization: flags.gpuMemoryUtilization ?? DEFAULT_GPU_MEMORY_UTILIZATION,
    deterministic: flags.deterministic === true,
    cudaGraphs: flags.cudaGraphs ?? true,
    prefixCaching: flags.prefixCaching ?? true,
    ranksPerDevice: flags.ranksPerDevice ?? 1,
    exifRotation: flags.exifRotation ?? true,
    stepTimeoutMs: flags.stepTimeout * 1000,
    maxDecodeSlowdown: flags.maxDecodeSlowdown ?? Infinity,
    prefillPatienceMs: flags.prefillPatience ?? DEFAULT_PREFILL_PATIENCE_MS,
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

function checkWorkers({ workers, clusterAddress }: ClusterFlags): void {
  if (workers === undefined) return;
  const problem =
    workers.length === 0
      ? '--workers names no worker: HOST:PORT,... is expected'
      : clusterAddress !== undefined
        ? '--workers and --cluster-address are two ways to come by workers: give one'
        : null;
  if (problem !== null) throw new AppError('INVALID_REQUEST', problem, { details: { param: 'workers' } });
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
