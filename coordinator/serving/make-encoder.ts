// The encoder of a model, with threads of its own.
import { availableParallelism } from 'node:os';
import type { Clock } from '../../common/clock.js';
import { MAX_KNOWN_PICTURES } from '../../common/limits.js';
import type { ClusterConfig } from '../config.js';
import { Encoder } from '../encoding/encoder.js';
import { EncodingQueue } from '../encoding/encoding-queue.js';
import { ThreadPool } from '../encoding/thread-pool.js';
import type { ShardPlan } from '../sharding/shard-plan.js';
import { loadPictureAddon } from '../vision/picture-addon.js';
import type { ModelText } from './load-text.js';
import type { SizeConfig } from './model-sizes.js';

/** More would seldom be busy: one decodes a picture in a tenth of a second. */
const MAX_DEFAULT_THREADS = 4;
/** More would wait for the memory: the resize of one picture then takes a few milliseconds. */
const MAX_THREADS_PER_PICTURE = 8;

export interface MakeEncoderOptions {
  readonly config: ClusterConfig;
  readonly plan: ShardPlan;
  readonly sizes: SizeConfig;
  readonly text: ModelText;
  readonly clock: Clock;
}

export function makeEncoder({ config, plan, sizes, text, clock }: MakeEncoderOptions): Encoder {
  const { tiling } = plan.spec;
  const numProcessors = availableParallelism();
  const numThreads = config.encodingThreads ?? Math.min(numProcessors, MAX_DEFAULT_THREADS);
  const perPicture = Math.min(Math.floor(numProcessors / numThreads), MAX_THREADS_PER_PICTURE);
  const pictures =
    tiling === null
      ? null
      : { tiling, exifRotation: config.exifRotation, numThreads: Math.max(perPicture, 1) };
  // What is not built shows before the first picture comes.
  if (pictures !== null) loadPictureAddon();
  const threads = new ThreadPool({ numThreads, settings: { text: text.source, pictures } });
  return new Encoder({
    queue: new EncodingQueue({ threads, clock }),
    text: text.processor,
    pictures,
    bound: {
      maxModelLength: sizes.maxModelLength,
      longestTokenBytes: text.processor.longestTokenBytes,
    },
    maxTiles: sizes.numTileSlots,
    vocabSize: plan.spec.text.vocabSize,
    pictureBudgetBytes: config.pictureMemoryBytes,
    maxKnownPictures: config.prefixCaching ? MAX_KNOWN_PICTURES : 0,
  });
}
