// Finds stop strings in text that arrives in pieces, holding text back only while it could still become one. The result
// does not depend on how the text was cut: characters are taken one by one, and the first stop string to be complete
// ends the text.
import { AppError } from '../../common/errors.js';
import { MAX_STOP_STRING_CHARS, MAX_STOP_STRINGS } from '../../common/limits.js';

interface StopString {
  readonly text: string;
  /** Knuth-Morris-Pratt: fallback[n] is the longest proper border of the first n characters. */
  readonly fallback: Int32Array;
  /** How many of its characters match the end of the text so far. */
  matched: number;
}

function buildFallback(text: string): Int32Array {
  const fallback = new Int32Array(text.length + 1);
  let border = 0;
  for (let i = 1; i < text.length; i++) {
    while (border > 0 && text[i] !== text[border]) border = fallback[border]!;
    if (text[i] === text[border]) border += 1;
    fallback[i + 1] = border;
  }
  return fallback;
}

/** Fails with INVALID_REQUEST where there are too many, or one is empty, too long or not well-formed. */
function checkStopStrings(stop: readonly string[]): void {
  const invalid = (message: string): AppError =>
    new AppError('INVALID_REQUEST', message, { details: { param: 'stop' } });
  if (stop.length > MAX_STOP_STRINGS)
    throw invalid(`stop has ${stop.length} strings; at most ${MAX_STOP_STRINGS} are accepted`);
  stop.forEach((text, index) => {
    if (text === '') throw invalid(`stop[${index}] is empty`);
    if (text.length > MAX_STOP_STRING_CHARS) {
      throw invalid(
        `stop[${index}] has ${text.length} characters; at most ${MAX_STOP_STRING_CHARS} are accepted`,
      );
    }
    if (/\p{Surrogate}/u.test(text))
      throw invalid(`stop[${index}] holds half of a character (a lone surrogate)`);
  });
}

export class StopMatcher {
  readonly #stops: StopString[];
  #withheld = '';
  #hasStopped = false;

  constructor(stop: readonly string[]) {
    checkStopStrings(stop);
    this.#stops = stop.map((text) => ({ text, fallback: buildFallback(text), matched: 0 }));
  }

  get stopped(): boolean {
    return this.#hasStopped;
  }

  /** The text that is certain now. Of several stop strings that end at one character, the longest is cut. */
  push(text: string): string {
    if (this.#hasStopped) return '';
    if (this.#stops.length === 0) return text;
    const all = this.#withheld + text;
    for (let i = this.#withheld.length; i < all.length; i++) {
      const cut = this.#advance(all[i]!);
      if (cut > 0) {
        this.#hasStopped = true;
        this.#withheld = '';
        return all.slice(0, i + 1 - cut);
      }
    }
    const numWithheld = Math.max(...this.#stops.map((stop) => stop.matched));
    this.#withheld = all.slice(all.length - numWithheld);
    return all.slice(0, all.length - numWithheld);
  }

  /** After the last text: what could have become a stop string and did not. */
  finish(): string {
    const rest = this.#withheld;
    this.#withheld = '';
    return rest;
  }

  /** Length of the longest stop string that this character completes, or 0. */
  #advance(character: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      while (stop.matched > 0 && stop.text[stop.matched] !== character)
        stop.matched = stop.fallback[stop.matched]!;
      if (stop.text[stop.matched] === character) stop.matched += 1;
      if (stop.matched === stop.text.length) longest = Math.max(longest, stop.matched);
    }
    return longest;
  }
}
