// Text for tests that count letters: each token id is one.
import type { OutputProcessor } from '../../coordinator/tokenizer/text-processor.js';

/** Letters for token ids; ends with "stop" where it may. */
export function letters(mayStop = false): OutputProcessor {
  let text = '';
  return {
    mayStop,
    get text() {
      return text;
    },
    push: (ids) => {
      const piece = String.fromCharCode(...ids);
      text += piece;
      return { reasoning: '', answer: piece, stopped: mayStop && text.endsWith('stop') };
    },
    finish: () => ({ reasoning: '', answer: '', stopped: false }),
  };
}
