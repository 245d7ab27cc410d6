// The grammar threads of a model: none are there before the first answer is to have a form.
import type { Clock } from '../../common/clock.js';
import { GrammarPool } from '../grammar/grammar-pool.js';
import { startGrammarThread } from '../grammar/start-grammar-thread.js';
import type { ModelText } from './load-text.js';

/** Null: the model has no tokenizer. */
export function makeGrammarPool({ source }: ModelText, vocabSize: number, clock: Clock): GrammarPool | null {
  if (source === null) return null;
  const data = { text: source, vocabSize };
  return new GrammarPool({ clock, startThread: (listener) => startGrammarThread(data, listener) });
}
