// Those that wait with one priority: what was preempted, then the lines of clients, who was served least first.
import type { Client } from './clients.js';
import type { Sequence } from './sequence.js';
import { Line, LineHeap } from './waiting-line.js';

export class PriorityClass {
  readonly priority: number;
  /** In order of arrival. */
  readonly #preempted: Sequence[] = [];
  #numPreemptedPassed = 0;
  readonly #lines = new Map<Client, Line>();
  readonly #heap = new LineHeap();
  /** In the order in which their first sequences came to stand there. */
  readonly #byAge = new Set<Line>();

  constructor(priority: number) {
    this.priority = priority;
  }

  get isEmpty(): boolean {
    return this.#lines.size === 0 && this.#preempted.length === 0;
  }

  /** Of what has not been passed over: since when the first of a line has waited. Infinity: all has been. */
  get sinceMs(): number {
    const preempted = this.#preempted[this.#numPreemptedPassed]?.headSinceMs ?? Infinity;
    const line = this.#oldestLine();
    if (line !== undefined) return Math.min(preempted, line.headSinceMs);
    return Math.min(preempted, this.#heap.top()?.headSinceMs ?? Infinity);
  }

  /** `isAged`: better priorities wait too, and its turn comes by how long it has waited. */
  next(isAged: boolean): Sequence | undefined {
    const preempted = this.#preempted[this.#numPreemptedPassed];
    if (preempted !== undefined) return preempted;
    const oldest = isAged ? this.#oldestLine() : undefined;
    return (oldest ?? this.#heap.top())?.next;
  }

  arrive(sequence: Sequence, sinceMs: number): void {
    const { client } = sequence;
    let line = this.#lines.get(client);
    if (line === undefined) {
      line = new Line(client, sinceMs);
      this.#lines.set(client, line);
      this.#byAge.add(line);
      line.add(sequence);
      this.#heap.add(line);
    } else line.add(sequence);
    sequence.line = line;
  }

  giveBack(sequence: Sequence): void {
    const behind = this.#preempted.findIndex((other) => other.arrival > sequence.arrival);
    this.#preempted.splice(behind < 0 ? this.#preempted.length : behind, 0, sequence);
  }

  remove(sequence: Sequence, nowMs: number): void {
    const { line } = sequence;
    if (line === null) {
      this.#preempted.splice(this.#preempted.indexOf(sequence), 1);
      return;
    }
    sequence.line = null;
    const place = line.remove(sequence);
    sequence.headSinceMs = place === 0 ? line.headSinceMs : nowMs;
    if (line.sequences.length === 0) {
      this.#lines.delete(line.client);
      this.#byAge.delete(line);
      this.#heap.remove(line);
      return;
    }
    if (place === 0) {
      line.headSinceMs = nowMs;
      this.#byAge.delete(line);
      this.#byAge.add(line);
    }
    this.#heap.update(line);
  }

  /** It cannot run in the plan being made. `cost`: of it, so that others of its client do not follow it at once. */
  pass(sequence: Sequence, cost: number): Line | null {
    const { line } = sequence;
    if (line === null) {
      this.#numPreemptedPassed += 1;
      return null;
    }
    line.numPassed += 1;
    line.passedCost += cost;
    this.#heap.update(line);
    return line;
  }

  /** The next plan looks at all of them again. */
  resume(line: Line | null): void {
    this.#numPreemptedPassed = 0;
    if (line === null || line.numPassed === 0) return;
    line.numPassed = 0;
    line.passedCost = 0;
    if (line.place >= 0) this.#heap.update(line);
  }

  /** Of all that wait here, with so many of an answer each. */
  numTokens(answerTokens: number): number {
    let sum = 0;
    for (const { numWaitingTokens } of this.#preempted) sum += numWaitingTokens + answerTokens;
    for (const line of this.#lines.values()) sum += line.numTokens + line.sequences.length * answerTokens;
    return sum;
  }

  /** Of these, what comes before another sequence of the client where all share evenly. */
  tokensAhead(name: string, answerTokens: number): number {
    const tokensOf = (line: Line): number => line.numTokens + line.sequences.length * answerTokens;
    let own = 0;
    for (const [client, line] of this.#lines) if (client.name === name) own = tokensOf(line);
    let ahead = own;
    for (const { numWaitingTokens } of this.#preempted) ahead += numWaitingTokens + answerTokens;
    for (const [client, line] of this.#lines) {
      if (client.name === name) continue;
      const all = tokensOf(line);
      ahead += Math.min(all, own + all / line.sequences.length);
    }
    return ahead;
  }

  *[Symbol.iterator](): Iterator<Sequence> {
    yield* this.#preempted;
    for (const line of this.#byAge) yield* line.sequences;
  }

  #oldestLine(): Line | undefined {
    for (const line of this.#byAge) if (line.numPassed === 0) return line;
    return undefined;
  }
}
