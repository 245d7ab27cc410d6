// What holds a request's tokens to the form of its answer: it keeps its place across preemptions and epochs.
import type { MaskSource } from '../executor/step-loop.js';

/** Where the masks of its tokens come from. */
export interface Constraint extends MaskSource {
  /** It goes on behind these tokens. */
  accept(tokenIds: readonly number[]): void;
}
