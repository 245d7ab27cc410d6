// The sizes that a model and its settings make: blocks, sequences, tiles, what the device decides. Pure.
import { AppError } from '../../common/errors.js';
import {
  DEFAULT_MAX_MODEL_LENGTH,
  MAX_PLANS_IN_FLIGHT,
  MAX_TILE_SLOTS,
  MAX_WAITING_REQUESTS,
} from '../../common/limits.js';
import type { ComputeType } from '../checkpoint/model-spec.js';
import type { ClusterConfig } from '../config.js';
import { makeGraphBuckets } from '../scheduler/graph-buckets.js';
import type { SchedulerConfig } from '../scheduler/step-plan.js';
import type { ShardPlan } from '../sharding/shard-plan.js';

export const BLOCK_SIZE = 16;

/** What decides who waits and who is refused: of the service, whatever the model. */
export type QueueConfig = Pick<SchedulerConfig, 'maxWaiting' | 'maxWaitingTokens' | 'ageingIntervalMs'>;
export type SizeConfig = Omit<
  SchedulerConfig,
  'numBlocks' | 'graphBuckets' | 'prefixCaching' | 'prefixSeed' | keyof QueueConfig
>;

export function queueConfig(
  config: Pick<ClusterConfig, 'maxWaitingTokens' | 'priorityAgeingMs'>,
): QueueConfig {
  return {
    maxWaiting: MAX_WAITING_REQUESTS,
    maxWaitingTokens: config.maxWaitingTokens,
    ageingIntervalMs: config.priorityAgeingMs,
  };
}

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

export type SizeSettings = Pick<ClusterConfig, 'maxModelLength' | 'maxNumSequences' | 'maxStepTokens'>;

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

export function maxTilesPerPicture(plan: ShardPlan): number {
  const { tiling } = plan.spec;
  if (tiling === null) return 0;
  if (!tiling.isDynamic) return 1;
  return tiling.maxTiles + (tiling.useThumbnail ? 1 : 0);
}

export function computeType(plan: ShardPlan, config: Pick<ClusterConfig, 'dtype'>): ComputeType {
  return config.dtype === 'auto' ? plan.spec.computeType : config.dtype;
}
