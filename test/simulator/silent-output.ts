// An output of the simulator's requests, whose tokens mean nothing: no text comes of them.
import type { OutputDelta, OutputProcessor } from '../../coordinator/tokenizer/text-processor.js';

const NOTHING: OutputDelta = { reasoning: '', answer: '', stopped: false };

export function silentOutput(): OutputProcessor {
  return { push: () => NOTHING, mayStop: false, finish: () => NOTHING, text: '' };
}
