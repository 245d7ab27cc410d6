// Makes epochs, one after another: workers, their shards, a group of them, and the runtime over it. What the model is
// stays the same.
import type { Clock } from '../../common/clock.js';
import { toAppError, type AppError, type ErrorCode } from '../../common/errors.js';
import { MAX_TOP_LOGPROBS, MAX_WORLD_SIZE } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { Checkpoint } from '../checkpoint/model-spec.js';
import type { CoordinatorIdentity } from '../cluster/identity.js';
import type { ClusterConfig } from '../config.js';
import { EpochRuntime } from '../engine/epoch-runtime.js';
import type { FormPhase } from '../engine/recovery.js';
import { formGroup, type LoadProgress } from '../executor/form-group.js';
import type { RankGroup } from '../executor/rank-group.js';
import type { OpenRankTransport } from '../executor/rank-transport.js';
import { makeLoadRequest } from '../sharding/load-request.js';
import { checkMemory, type RankDevice } from '../sharding/memory-plan.js';
import { makeShardPlan } from '../sharding/make-shard-plan.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import {
  BLOCK_SIZE,
  chooseSizes,
  computeType,
  deviceChoices,
  queueConfig,
  type SizeConfig,
} from './model-sizes.js';
import type { EpochWorkers, Suspect, WorkerSet } from './worker-set.js';

const DUMMY_SEED = 0;

export interface EpochFactoryOptions {
  readonly config: ClusterConfig;
  readonly checkpoint: Checkpoint;
  /** For the world sizes that there may be workers for. */
  readonly planFor: (worldSize: number) => ShardPlan;
  readonly workers: Pick<WorkerSet, 'acquire' | 'sawLife'>;
  readonly openTransport: OpenRankTransport;
  readonly identity: CoordinatorIdentity;
  readonly drawNonce: () => bigint;
  readonly onProgress: (progress: LoadProgress) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class EpochFactory {
  readonly #options: EpochFactoryOptions;
  #group: RankGroup | null = null;
  /** Of the last group of each world size. */
  readonly #numKvBlocks = new Map<number, number>();
  /** Of weights, by their hash: a few for each world size. */
  readonly #checksums = new Map<string, Buffer>();
  /** Why the last attempt came to nothing. */
  #failure: AppError | null = null;

  constructor(options: EpochFactoryOptions) {
    this.#options = options;
  }

  /** Rejects when a worker is lost meanwhile, when the workers cannot serve this model, or when the signal aborts. */
  async form(signal: AbortSignal, onPhase: (phase: FormPhase) => void): Promise<EpochRuntime> {
    const { config, clock, workers: workerSet } = this.#options;
    const failure = this.#failure ?? this.#group?.failure ?? null;
    try {
      const workers = await workerSet.acquire(signal, suspectOf(failure));
      onPhase('workers');
      const model = this.#modelFor(workers.addresses.length);
      const group = (this.#group = await makeGroup(this.#options, model, workers, signal, onPhase));
      this.#numKvBlocks.set(model.plan.worldSize, group.numKvBlocks);
      this.#failure = null;
      const { graphBuckets } = deviceChoices(config, group.isOnGpu);
      return new EpochRuntime({
        group,
        scheduler: {
          ...model.sizes,
          ...queueConfig(config),
          graphBuckets,
          prefixCaching: config.prefixCaching,
          prefixSeed: Number(BigInt.asUintN(32, this.#options.drawNonce())),
        },
        clock,
        stepTimeoutMs: config.stepTimeoutMs,
        maxDecodeSlowdown: config.maxDecodeSlowdown,
        prefillPatienceMs: config.prefillPatienceMs,
        lost: workers.lost,
      });
    } catch (error) {
      this.#failure = toAppError(error);
      throw error;
    }
  }

  #modelFor(worldSize: number): ModelOfGroup {
    const { planFor, config } = this.#options;
    const plan = planFor(worldSize);
    const sizes = chooseSizes(plan, config);
    const maxUsefulBlocks = sizes.maxNumSequences * Math.ceil(sizes.maxModelLength / BLOCK_SIZE);
    const maxNumKvBlocks = this.#numKvBlocks.get(worldSize) ?? maxUsefulBlocks;
    return { plan, sizes, maxNumKvBlocks, checksums: this.#checksums };
  }
}

interface ModelOfGroup {
  readonly plan: ShardPlan;
  readonly sizes: SizeConfig;
  /** A group does not exceed the one before it, so that what ended there ends here. */
  readonly maxNumKvBlocks: number;
  readonly checksums: Map<string, Buffer>;
}

/** What a process answers after these says nothing about its engine. */
const BROKEN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DEVICE_ERROR', 'INTERNAL', 'RANK_HUNG']);

/** Whom an epoch's end, or an attempt to form one, is blamed on; null: on nobody, or who it was has ended already. */
function suspectOf(failure: AppError | null): Suspect | null {
  const address = failure?.details['address'];
  if (failure === null || typeof address !== 'string') return null;
  const isBroken = BROKEN.has(failure.code);
  return { address, isBroken, reason: failure.message };
}

async function makeGroup(
  options: EpochFactoryOptions,
  { plan, sizes, maxNumKvBlocks, checksums }: ModelOfGroup,
  workers: EpochWorkers,
  signal: AbortSignal,
  onPhase: (phase: FormPhase) => void,
): Promise<RankGroup> {
  const { config, checkpoint, clock, logger } = options;
  const watch = rejection(workers.lost, signal);
  return formGroup({
    addresses: workers.addresses,
    openTransport: options.openTransport,
    identity: options.identity,
    drawNonce: options.drawNonce,
    hangTimeoutMs: config.hangTimeoutMs,
    onSignOfLife: (workerId) => options.workers.sawLife(workerId),
    makeLoadRequest: (rank, isOnGpu) => loadRequest(plan, rank, sizes, config, isOnGpu),
    collective: config.collective,
    kvCacheBytes: config.kvCacheBytes,
    gpuMemoryUtilization: config.gpuMemoryUtilization,
    checkMemory: (devices) => checkDeviceMemory(devices, checkpoint, plan, config),
    maxUsefulBlocks: maxNumKvBlocks,
    onProgress: options.onProgress,
    checksums,
    onPhase,
    lost: watch.promise,
    clock,
    logger,
  }).finally(watch.stop);
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
    float8KvCache: config.kvCacheDtype === 'fp8',
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
      float8KvCache: config.kvCacheDtype === 'fp8',
    }),
    maxWorldSize: MAX_WORLD_SIZE,
  });
}

interface Rejection {
  readonly promise: Promise<never>;
  readonly stop: () => void;
}

/** Rejects with what `lost` resolves to, or when the signal aborts; never resolves. */
function rejection(lost: Promise<AppError>, signal: AbortSignal): Rejection {
  let stop: () => void = () => undefined;
  const promise = new Promise<never>((_resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    stop = () => signal.removeEventListener('abort', onAbort);
    void lost.then(reject);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  promise.catch(() => undefined);
  return { promise, stop };
}
