// What differs from seed to seed apart from faults: sizes that are tight enough for chunks, preemption and waits to
// happen.
import type { EpochRuntimeOptions } from '../../coordinator/engine/epoch-runtime.js';
import type { SchedulerConfig } from '../../coordinator/scheduler/step-plan.js';
import type { Random } from './random.js';

export const TOKENS_PER_TILE = 2;
export const TILE_SIDE = 2;
export const MAX_PROMPT_TOKENS = 32;
export const MAX_NEW_TOKENS = 12;
export const MAX_TILES_PER_REQUEST = 3;

export interface SimulatedConfig {
  readonly worldSize: number;
  readonly numRequests: number;
  readonly numBlocks: number;
  readonly scheduler: Omit<SchedulerConfig, 'numBlocks'>;
  readonly maxDelayMs: number;
  readonly maxStepMs: number;
  readonly maxLoadMs: number;
  readonly loop: Pick<EpochRuntimeOptions, 'stepTimeoutMs' | 'maxDecodeSlowdown' | 'prefillPatienceMs'>;
}

export function drawConfig(random: Random): SimulatedConfig {
  const blockSize = random.pick([2, 4, 8]);
  const maxNumSequences = random.integer(1, 4);
  const blocksOfOne = Math.ceil((MAX_PROMPT_TOKENS + MAX_NEW_TOKENS) / blockSize);
  return {
    worldSize: random.pick([1, 2, 2, 3]),
    numRequests: random.integer(2, 8),
    numBlocks: random.integer(blocksOfOne, 3 * blocksOfOne),
    scheduler: {
      blockSize,
      maxNumSequences,
      maxStepTokens: random.integer(maxNumSequences, 40),
      maxModelLength: MAX_PROMPT_TOKENS + MAX_NEW_TOKENS,
      maxPlansInFlight: random.pick([1, 2, 8]),
      maxWaiting: random.pick([2, 16]),
      maxWaitingTokens: random.pick([48, 1_000]),
      ageingIntervalMs: random.pick([10, 30_000]),
      numTileSlots: random.integer(MAX_TILES_PER_REQUEST, 6),
      maxTilesPerStep: random.integer(1, 3),
      tokensPerTile: TOKENS_PER_TILE,
      graphBuckets: [],
      prefixCaching: random.chance(0.7),
      prefixSeed: random.uint32(),
    },
    maxDelayMs: random.pick([0.1, 1, 20]),
    maxStepMs: random.pick([1, 10, 100]),
    maxLoadMs: random.pick([0, 50, 1_000]),
    loop: {
      stepTimeoutMs: random.pick([2_000, 20_000]),
      maxDecodeSlowdown: random.pick([1.1, 2, Infinity]),
      prefillPatienceMs: 250,
    },
  };
}
