// What a simulated rank is asked to load.
import type { SchedulerConfig } from '../../coordinator/scheduler/step-plan.js';
import type { LoadRequest } from '../../proto/ts/skein/worker/v1/LoadRequest.js';
import { TILE_SIDE } from './config.js';
import { VOCAB_SIZE } from './model.js';

export function loadRequest(
  rank: number,
  worldSize: number,
  scheduler: Omit<SchedulerConfig, 'numBlocks'>,
): LoadRequest {
  const { maxNumSequences, maxStepTokens, maxModelLength, blockSize, numTileSlots, maxTilesPerStep } =
    scheduler;
  // Uneven, and not in whole words of a mask.
  const vocabStart = Math.floor((VOCAB_SIZE * rank) / worldSize);
  const vocabRows = Math.floor((VOCAB_SIZE * (rank + 1)) / worldSize) - vocabStart;
  return {
    weightsHash: `weights of rank ${rank} of ${worldSize}`,
    text: { vocabSize: VOCAB_SIZE },
    vision: { normType: 'NORM_TYPE_RMS', imageSize: TILE_SIDE, patchSize: TILE_SIDE, numChannels: 3 },
    layout: { rank, worldSize, vocabStart, vocabRows, vocabValidRows: vocabRows },
    computeType: 'DATA_TYPE_FLOAT32',
    deterministic: true,
    ...{ maxNumSequences, maxStepTokens, maxModelLength, blockSize, numTileSlots, maxTilesPerStep },
  };
}
