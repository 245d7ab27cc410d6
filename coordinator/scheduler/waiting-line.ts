// Sequences of one client and one priority that wait, in order of arrival; and such lines in a heap, the line of the
// client that was served least on top.
import type { Client } from './clients.js';
import type { Sequence } from './sequence.js';

export class Line {
  readonly client: Client;
  readonly sequences: Sequence[] = [];
  /** Of all of them. */
  numTokens = 0;
  /** When its first sequence came to stand there. */
  headSinceMs: number;
  /** Of its first sequences, those that cannot run in the plan being made; and what they would have cost. */
  numPassed = 0;
  passedCost = 0;
  /** Where the heap has it, and by which key. */
  place = -1;
  key = 0;

  constructor(client: Client, nowMs: number) {
    this.client = client;
    this.headSinceMs = nowMs;
  }

  add(sequence: Sequence): void {
    this.sequences.push(sequence);
    this.numTokens += sequence.numWaitingTokens;
  }

  /** Where it stood. */
  remove(sequence: Sequence): number {
    const place = this.sequences.indexOf(sequence);
    this.sequences.splice(place, 1);
    this.numTokens -= sequence.numWaitingTokens;
    return place;
  }

  /** The first that has not been passed over. */
  get next(): Sequence | undefined {
    return this.sequences[this.numPassed];
  }

  /** Infinity: all of it has been passed over. */
  get currentKey(): number {
    return this.next === undefined ? Infinity : this.client.served + this.passedCost;
  }
}

/**
 * Counters of clients grow while their lines stand in here: a key may be smaller than it should be, never larger, and
 * is set right when it comes to the top.
 */
export class LineHeap {
  readonly #lines: Line[] = [];

  add(line: Line): void {
    line.key = line.currentKey;
    line.place = this.#lines.length;
    this.#lines.push(line);
    this.#rise(line);
  }

  remove(line: Line): void {
    const last = this.#lines.pop()!;
    if (last !== line) {
      this.#put(last, line.place);
      this.#settle(last);
    }
    line.place = -1;
  }

  /** Its key or its first sequence has changed. */
  update(line: Line): void {
    line.key = line.currentKey;
    this.#settle(line);
  }

  /** Undefined: no line has a sequence that has not been passed over. */
  top(): Line | undefined {
    for (;;) {
      const line = this.#lines[0];
      if (line === undefined) return undefined;
      const key = line.currentKey;
      if (key === line.key) return key === Infinity ? undefined : line;
      line.key = key;
      this.#sink(line);
    }
  }

  #settle(line: Line): void {
    this.#rise(line);
    this.#sink(line);
  }

  #rise(line: Line): void {
    while (line.place > 0) {
      const parent = this.#lines[(line.place - 1) >> 1]!;
      if (!goesBefore(line, parent)) return;
      this.#swap(line, parent);
    }
  }

  #sink(line: Line): void {
    for (;;) {
      const left = this.#lines[2 * line.place + 1];
      const right = this.#lines[2 * line.place + 2];
      if (left === undefined) return;
      const child = right !== undefined && goesBefore(right, left) ? right : left;
      if (!goesBefore(child, line)) return;
      this.#swap(line, child);
    }
  }

  #swap(one: Line, other: Line): void {
    const { place } = one;
    this.#put(one, other.place);
    this.#put(other, place);
  }

  #put(line: Line, place: number): void {
    this.#lines[place] = line;
    line.place = place;
  }
}

function goesBefore(one: Line, other: Line): boolean {
  if (one.key !== other.key) return one.key < other.key;
  return (one.next?.arrival ?? Infinity) < (other.next?.arrival ?? Infinity);
}
