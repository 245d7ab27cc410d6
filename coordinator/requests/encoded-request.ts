// What encoding makes of a request: what an epoch computes, and what its tokens become.
import type { PixelSource, SequencePicture } from '../executor/step-loop.js';
import type { OutputProcessor } from '../tokenizer/text-processor.js';
import type { Constraint } from './constraint.js';
import type { ResolvedSampling } from './sampling-options.js';

export interface EncodedRequest {
  readonly tokenIds: Uint32Array;
  readonly pictures: readonly (SequencePicture & PixelSource)[];
  readonly sampling: ResolvedSampling;
  readonly output: OutputProcessor;
  /** What its tokens are held to; default null: nothing. */
  readonly constraint?: Constraint | null;
}
