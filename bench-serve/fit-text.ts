// Text of an exact number of tokens in a tokenizer that only counts: words from a seed, then single characters until it
// fits.
import type { Random } from './random.js';

const WORDS = (
  'time year people way day man thing woman life child world school state family student group country problem hand ' +
  'part place case week company system program question work number night point home water room mother area money ' +
  'story fact month lot right study book eye job word business issue side kind head house service friend father ' +
  'power hour game line end member law car city community name president team minute idea kid body information back ' +
  'parent face others level office door health person art war history party result change morning reason research ' +
  'girl guy moment air teacher force education foot boy age policy music market sense plan interest ' +
  'light river table paper field stone summer winter garden window letter animal picture colour sound bridge'
).split(' ');
/** Each is one token in most tokenizers, where it stands apart; one of them is what is missing at the end. */
const FILLERS = [' a', ' .', ' 7', '!', 'b'];
/** Questions to the tokenizer for one text. */
const MAX_TRIES = 24;

export interface FittedText {
  readonly text: string;
  readonly tokens: number;
}

/** How many tokens a text comes to. */
export type CountTokens = (text: string) => Promise<number>;

export function drawWords(random: Random, count: number): string[] {
  return Array.from({ length: count }, () => random.pick(WORDS));
}

/** All words, for a tokenizer to show its ordinary ids. */
export function allWords(): string {
  return WORDS.join(' ');
}

/**
 * The text that comes closest, which is of `wanted` tokens unless the tokenizer has no way to make so many; `wanted` is
 * at least what one character takes.
 */
export async function fitText(wanted: number, random: Random, count: CountTokens): Promise<FittedText> {
  let words = drawWords(random, wanted);
  let best: FittedText = { text: '', tokens: 0 };
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const tried = { text: words.join(' '), tokens: await count(words.join(' ')) };
    if (tried.tokens <= wanted && tried.tokens >= best.tokens) best = tried;
    const missing = wanted - tried.tokens;
    if (missing === 0) return tried;
    // What the template takes is counted too: the share of a word is never more than this.
    const perWord = Math.max(1, tried.tokens / Math.max(1, words.length));
    const step = Math.floor(Math.abs(missing) / perWord);
    if (missing > 0 && step === 0) break;
    words =
      missing > 0 ? [...words, ...drawWords(random, step)] : words.slice(0, words.length - Math.max(1, step));
    if (words.length === 0) break;
  }
  return fill(best, wanted, count);
}

async function fill(start: FittedText, wanted: number, count: CountTokens): Promise<FittedText> {
  let best = start;
  for (let tries = 0; tries < MAX_TRIES && best.tokens < wanted; tries++) {
    let grown: FittedText | null = null;
    for (const filler of FILLERS) {
      const text = best.text === '' ? filler.trim() : best.text + filler;
      const tokens = await count(text);
      if (tokens > best.tokens && tokens <= wanted) grown = { text, tokens };
      if (grown !== null) break;
    }
    if (grown === null) break;
    best = grown;
  }
  return best;
}
