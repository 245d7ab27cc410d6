// One model being served: builds the object graph out of a configuration (checkpoint, plan, workers, group, scheduler, step loop,
// inference) and takes it down again. `run`, `serve` and tests differ only in what they do with it.
import { setMaxListeners } from 'node:events';
import path from 'node:path';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { MAX_PLANS_IN_FLIGHT, MAX_TOP_LOGPROBS, MAX_WORLD_SIZE } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import { readGenerationConfig } from '../checkpoint/generation-config.js';
import { knownPictureTokenId, resolveModel } from '../checkpoint/known-models.js';
import type { Checkpoint, ComputeType } from '../checkpoint/model-spec.js';
import type { ClusterConfig } from '../config.js';
import { formGroup, type LoadProgress } from '../executor/form-group.js';
import { openGrpcRankTransport } from '../executor/grpc-rank-transport.js';
import type { RankGroup } from '../executor/rank-group.js';
import { StepLoop } from '../executor/step-loop.js';
import type { ClusterFacts, ModelFacts } from '../gateway/inference-messages.js';
import { InferenceService } from '../requests/inference.js';
import { NEUTRAL_SAMPLING, type SamplingDefaults } from '../requests/sampling-options.js';
import { makeGraphBuckets } from '../scheduler/graph-buckets.js';
import { Scheduler } from '../scheduler/scheduler.js';
import type { SchedulerConfig } from '../scheduler/step-plan.js';
import { makeLoadRequest } from '../sharding/load-request.js';
import { checkMemory, type RankDevice } from '../sharding/memory-plan.js';
import { makeShardPlan } from '../sharding/make-shard-plan.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import { alwaysReasons } from '../checkpoint/families/registry.js';
import { loadTextProcessor } from '../tokenizer/load-text-processor.js';
import { tokensOnlyProcessor } from '../tokenizer/tokens-only-processor.js';
import type { TextProcessor } from '../tokenizer/text-processor.js';
import { createPictureProcessor } from '../vision/picture-processor.js';
import type { PictureProcessor } from '../vision/picture.js';
import { WorkerSet } from './worker-set.js';

const BLOCK_SIZE = 16;
const DEFAULT_MAX_MODEL_LENGTH = 32_768;
const MAX_WAITING = 1024;
const MAX_TILE_SLOTS = 128;
const PICTURE_CONCURRENCY = 2;
const DUMMY_SEED = 0;

export interface ServingOptions {
  readonly config: ClusterConfig;
  readonly logger: Logger;
  /** Arguments of process.execPath that start `skein worker`. */
  readonly workerEntry: readonly string[];
  readonly onProgress: (progress: LoadProgress) => void;
  /** Ends the start-up. */
  readonly signal: AbortSignal;
}

type SizeConfig = Omit<SchedulerConfig, 'numBlocks' | 'graphBuckets'>;

/** What the device of the ranks decides, wherever they were started. */
export interface DeviceChoices {
  readonly deterministic: boolean;
  readonly graphBuckets: readonly number[];
}

export function deviceChoices(
  config: Pick<ClusterConfig, 'deterministic' | 'cudaGraphs' | 'maxNumSequences'>,
  isOnGpu: boolean,
): DeviceChoices {
  if (!isOnGpu) return { deterministic: true, graphBuckets: [] };
  const graphBuckets = config.cudaGraphs ? makeGraphBuckets(config.maxNumSequences) : [];
  return { deterministic: config.deterministic, graphBuckets };
}

export class Serving {
  readonly inference: InferenceService;
  readonly plan: ShardPlan;
  readonly model: ModelFacts;
  readonly group: RankGroup;
  readonly loadMs: number;
  /** Resolves when the epoch is over: nothing is served any more. */
  readonly failed: Promise<AppError>;
  readonly #scheduler: Scheduler;
  readonly #loop: StepLoop;
  readonly #workers: WorkerSet;
  readonly #pictures: PictureProcessor | null;
  #stopping: Promise<void> | null = null;

  private constructor(parts: {
    readonly checkpoint: Checkpoint;
    readonly plan: ShardPlan;
    readonly sizes: SizeConfig;
    readonly group: RankGroup;
    readonly workers: WorkerSet;
    readonly text: TextProcessor;
    readonly samplingDefaults: SamplingDefaults;
    readonly options: ServingOptions;
    readonly loadMs: number;
  }) {
    const { plan, group, options, text, samplingDefaults } = parts;
    const clock = systemClock;
    this.plan = plan;
    this.group = group;
    this.loadMs = parts.loadMs;
    this.#workers = parts.workers;
    const { deterministic, graphBuckets } = deviceChoices(options.config, group.isOnGpu);
    this.#scheduler = new Scheduler({ ...parts.sizes, numBlocks: group.numKvBlocks, graphBuckets });
    const failure = withResolver<AppError>();
    this.failed = failure.promise;
    this.#loop = new StepLoop({
      scheduler: this.#scheduler,
      group,
      clock,
      logger: options.logger,
      stepTimeoutMs: options.config.stepTimeoutMs,
      onFailure: failure.resolve,
    });
    const { tiling } = plan.spec;
    this.#pictures =
      tiling === null
        ? null
        : createPictureProcessor({
            tiling,
            exifRotation: options.config.exifRotation,
            concurrency: PICTURE_CONCURRENCY,
          });
    this.inference = new InferenceService({
      loop: this.#loop,
      text,
      pictures: this.#pictures,
      vocabSize: plan.spec.text.vocabSize,
      samplingDefaults,
      clock,
      maxRequests: parts.sizes.maxWaiting + parts.sizes.maxNumSequences,
    });
    this.model = {
      ...modelFacts(plan, parts.sizes, options.config, text),
      deterministic,
      samplingDefaults,
    };
    void parts.workers.lost.then((error) => group.fail(error));
    this.#loop.start();
  }

  static async start(options: ServingOptions): Promise<Serving> {
    const { config, logger, signal } = options;
    setMaxListeners(0, signal);
    const startedMs = performance.now();
    const checkpoint = await resolveModel(config.model);
    logDefaults(checkpoint.defaultsTaken, logger);
    const plan = makeShardPlan(checkpoint, {
      worldSize: config.tensorParallelSize,
      visionParallel: config.visionParallel,
    });
    const sizes = chooseSizes(plan, config);
    const generation = await readGenerationConfig(config.generationConfig, checkpoint.folder);
    const samplingDefaults = { ...NEUTRAL_SAMPLING, ...generation.sampling };
    const text = await loadText(checkpoint, config, generation.eosTokenIds);
    signal.throwIfAborted();
    const workers = await WorkerSet.start({ config, logger, entry: options.workerEntry, signal });
    try {
      const group = await formGroup({
        addresses: workers.addresses,
        openTransport: openGrpcRankTransport,
        makeLoadRequest: (rank, isOnGpu) => loadRequest(plan, rank, sizes, config, isOnGpu),
        collective: config.collective,
        kvCacheBytes: config.kvCacheBytes,
        gpuMemoryUtilization: config.gpuMemoryUtilization,
        checkMemory: (devices) => checkDeviceMemory(devices, checkpoint, plan, config),
        maxUsefulBlocks: sizes.maxNumSequences * Math.ceil(sizes.maxModelLength / BLOCK_SIZE),
        onProgress: options.onProgress,
        lost: rejection(workers.lost, signal),
        clock: systemClock,
        logger,
      });
      const loadMs = performance.now() - startedMs;
      return new Serving({
        checkpoint,
        plan,
        sizes,
        group,
        workers,
        text,
        samplingDefaults,
        options,
        loadMs,
      });
    } catch (error) {
      await workers.stop();
      throw error;
    }
  }

  cluster(): ClusterFacts {
    const stats = this.#scheduler.stats;
    const state = this.group.failure !== null ? 'failed' : this.inference.isDraining ? 'draining' : 'ready';
    return {
      groupEpoch: this.group.groupEpoch,
      state,
      ranks: this.group.ranks,
      collective: this.group.collective,
      numKvBlocks: this.group.numKvBlocks,
      numFreeKvBlocks: stats.numFreeBlocks,
      blockSize: BLOCK_SIZE,
      numRunning: stats.numRunning,
      numWaiting: stats.numWaiting,
      steps: stats.lastStep,
      visionParallel: this.plan.spec.vision === null ? '' : this.plan.visionParallel,
      completedSteps: this.#loop.numCompletedSteps,
      stepMs: this.#loop.stepMsTotal,
    };
  }

  /** Ends everything at once; idempotent. Requests that still run fail with DRAINING. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#loop.stop();
    await Promise.all([this.#workers.stop(), this.#pictures?.close()]);
  }
}

type SizeSettings = Pick<ClusterConfig, 'maxModelLength' | 'maxNumSequences' | 'maxStepTokens'>;

export function chooseSizes(plan: ShardPlan, config: SizeSettings): SizeConfig {
  const { text, tiling } = plan.spec;
  const maxModelLength =
    config.maxModelLength ?? Math.min(text.maxPositionEmbeddings, DEFAULT_MAX_MODEL_LENGTH);
  if (maxModelLength > text.maxPositionEmbeddings) {
    throw new AppError(
      'INVALID_REQUEST',
      `--max-model-length is ${maxModelLength}; the model has ${text.maxPositionEmbeddings} positions`,
      { details: { param: 'max-model-length' } },
    );
  }
  const tokensPerTile = tiling?.tokensPerTile ?? 0;
  return {
    blockSize: BLOCK_SIZE,
    maxNumSequences: config.maxNumSequences,
    maxStepTokens: config.maxStepTokens,
    maxModelLength,
    maxPlansInFlight: MAX_PLANS_IN_FLIGHT,
    maxWaiting: MAX_WAITING,
    numTileSlots:
      tiling === null
        ? 0
        : Math.max(
            Math.min(Math.floor(maxModelLength / tokensPerTile), MAX_TILE_SLOTS),
            maxTilesPerPicture(plan),
          ),
    // As many tiles as a step's tokens can be, and one for each rank where tiles are dealt out.
    maxTilesPerStep:
      tiling === null ? 0 : Math.max(Math.ceil(config.maxStepTokens / tokensPerTile), plan.worldSize),
    tokensPerTile,
  };
}

function maxTilesPerPicture(plan: ShardPlan): number {
  const { tiling } = plan.spec;
  if (tiling === null) return 0;
  if (!tiling.isDynamic) return 1;
  return tiling.maxTiles + (tiling.useThumbnail ? 1 : 0);
}

function loadRequest(
  plan: ShardPlan,
  rank: number,
  sizes: SizeConfig,
  config: ClusterConfig,
  isOnGpu: boolean,
): LoadRequest {
  return makeLoadRequest(plan, rank, {
    ...deviceChoices(config, isOnGpu),
    computeType: computeType(plan, config),
    dummyWeights: config.loadFormat === 'dummy',
    dummySeed: DUMMY_SEED,
    // Local workers were started with theirs; others know their hosts.
    numThreads: 0,
    maxNumSequences: sizes.maxNumSequences,
    maxStepTokens: sizes.maxStepTokens,
    blockSize: sizes.blockSize,
    maxModelLength: sizes.maxModelLength,
    numTileSlots: sizes.numTileSlots,
    maxTilesPerStep: sizes.maxTilesPerStep,
    maxTopLogprobs: MAX_TOP_LOGPROBS,
  }) as LoadRequest;
}

function checkDeviceMemory(
  devices: readonly RankDevice[],
  checkpoint: Checkpoint,
  plan: ShardPlan,
  config: ClusterConfig,
): void {
  checkMemory({
    devices,
    utilization: config.gpuMemoryUtilization,
    kvCacheBytes: config.kvCacheBytes,
    plan,
    planFor: (worldSize) => {
      try {
        return makeShardPlan(checkpoint, { worldSize, visionParallel: config.visionParallel });
      } catch {
        return null;
      }
    },
    limitsOf: (anyPlan, changes) => ({
      ...chooseSizes(anyPlan, { ...config, ...changes }),
      computeType: computeType(anyPlan, config),
    }),
    maxWorldSize: MAX_WORLD_SIZE,
  });
}

/** A file that is missing altogether is worth a warning; keys that are absent mean, to most writers, their default. */
function logDefaults(defaultsTaken: Checkpoint['defaultsTaken'], logger: Logger): void {
  for (const level of ['warn', 'info'] as const) {
    const taken = defaultsTaken.filter(({ isFileMissing }) => isFileMissing === (level === 'warn'));
    if (taken.length === 0) continue;
    const defaults = Object.fromEntries(taken.map(({ setting, value }) => [setting, value]));
    logger[level]({ defaults }, 'settings that the checkpoint does not give; these defaults are taken');
  }
}

function computeType(plan: ShardPlan, config: ClusterConfig): ComputeType {
  return config.dtype === 'auto' ? plan.spec.computeType : config.dtype;
}

function loadText(
  checkpoint: Checkpoint,
  config: ClusterConfig,
  moreEosTokenIds: readonly number[],
): Promise<TextProcessor> {
  const { folder, spec } = checkpoint;
  const eosTokenIds = [...checkpoint.eosTokenIds, ...moreEosTokenIds];
  const tokensPerTile = spec.tiling?.tokensPerTile ?? null;
  if (folder !== null) {
    return loadTextProcessor({
      folder,
      eosTokenIds,
      tokensPerTile,
      reasoningStart: config.reasoningStart,
      alwaysReasons: alwaysReasons(spec.architecture),
    });
  }
  return Promise.resolve(
    tokensOnlyProcessor({
      vocabSize: spec.text.vocabSize,
      stopTokenIds: eosTokenIds,
      pictureTokenId: knownPictureTokenId(spec.name),
      tokensPerTile,
    }),
  );
}

function modelFacts(
  plan: ShardPlan,
  sizes: SizeConfig,
  config: ClusterConfig,
  text: TextProcessor,
): Omit<ModelFacts, 'deterministic' | 'samplingDefaults'> {
  const { spec } = plan;
  return {
    name: spec.name === '' ? path.basename(config.model) : spec.name,
    architecture: spec.architecture,
    maxModelLength: sizes.maxModelLength,
    vocabSize: spec.text.vocabSize,
    tokensPerTile: sizes.tokensPerTile,
    maxTilesPerPicture: maxTilesPerPicture(plan),
    computeType: computeType(plan, config),
    quantization: spec.text.awqGroupSize === 0 ? '' : 'awq',
    loadFormat: config.loadFormat,
    stopTokenIds: text.stopTokenIds,
    pictureTokenId: text.pictureTokenId,
  };
}

/** Rejects with what `lost` resolves to, or when the signal aborts; never resolves. */
function rejection(lost: Promise<AppError>, signal: AbortSignal): Promise<never> {
  const promise = new Promise<never>((_resolve, reject) => {
    void lost.then(reject);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  promise.catch(() => undefined);
  return promise;
}

export function withResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((resolvePromise) => {
    resolve = resolvePromise;
  });
  return { promise, resolve };
}
