// Who is admitted next, of those that wait. What ran in an epoch that ended goes first, in the order in which it is
// handed over. Then the best priority, and within it the client that was served least, and of a client what came first.
//
// Waiting is worth priority, so that nothing starves: a client's first sequence goes before all of a better priority
// once it has stood there for longer than they by an ageing interval for each step of priority between them. It counts
// from when it became its client's first: the length of a client's queue gives it no age. Of two sequences the one that
// goes first is the same whenever one asks, so that nothing need be sorted again as time passes.
//
// Pure, and what the next one takes to find does not depend on how many wait. Time comes in with what happens.
import { assert } from '../../common/assert.js';
import { Clients, type Client } from './clients.js';
import { PriorityClass } from './priority-class.js';
import type { Sequence } from './sequence.js';
import type { Line } from './waiting-line.js';

export interface WaitingQueueConfig {
  readonly ageingIntervalMs: number;
  readonly numBlocks: number;
  readonly blockSize: number;
}

export class WaitingQueue {
  readonly clients: Clients;
  readonly #ageingIntervalMs: number;
  /** What ran in an epoch that ended, in order. */
  readonly #resumed: Sequence[] = [];
  #numResumedPassed = 0;
  /** The best first. */
  readonly #classes: PriorityClass[] = [];
  readonly #passed: { readonly priority: number; readonly line: Line | null }[] = [];
  #length = 0;
  #numTokens = 0;
  #nowMs = 0;

  constructor({ ageingIntervalMs, numBlocks, blockSize }: WaitingQueueConfig) {
    this.#ageingIntervalMs = ageingIntervalMs;
    this.clients = new Clients(numBlocks * blockSize);
  }

  get length(): number {
    return this.#length;
  }

  /** Of those that wait: of prompts, and of answers as far as they are known. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** It is that late. */
  advance(nowMs: number): void {
    if (nowMs > this.#nowMs) this.#nowMs = nowMs;
  }

  arrive(sequence: Sequence): void {
    this.advance(sequence.arrivedMs);
    this.#count(sequence);
    sequence.headSinceMs = sequence.arrivedMs;
    if (sequence.request.hasRun === true) {
      sequence.isResumed = true;
      this.#resumed.push(sequence);
    } else this.#classOf(sequence.priority).arrive(sequence, sequence.arrivedMs);
  }

  /** It ran and waits again, before those of its priority that have not run. */
  giveBack(sequence: Sequence): void {
    this.#count(sequence);
    this.#classOf(sequence.priority).giveBack(sequence);
  }

  /** It was paused: where it ran before, as one that was preempted, else behind the others of its client. */
  comeBack(sequence: Sequence): void {
    if (sequence.isCharged) {
      this.giveBack(sequence);
      return;
    }
    this.#count(sequence);
    sequence.headSinceMs = this.#nowMs;
    this.#classOf(sequence.priority).arrive(sequence, this.#nowMs);
  }

  /** It is admitted, is paused, or has ended. */
  remove(sequence: Sequence): void {
    this.#length -= 1;
    this.#numTokens -= sequence.numWaitingTokens;
    this.clients.stopWaiting(sequence.client, sequence.numWaitingTokens);
    if (sequence.isResumed) {
      sequence.isResumed = false;
      this.#resumed.splice(this.#resumed.indexOf(sequence), 1);
      return;
    }
    const index = this.#indexOf(sequence.priority);
    const found = this.#classes[index]!;
    found.remove(sequence, this.#nowMs);
    if (found.isEmpty) this.#classes.splice(index, 1);
  }

  /** Undefined: all that wait have been passed over. */
  next(): Sequence | undefined {
    const resumed = this.#resumed[this.#numResumedPassed];
    if (resumed !== undefined) return resumed;
    let best: PriorityClass | undefined;
    let chosen: PriorityClass | undefined;
    let least = Infinity;
    for (const each of this.#classes) {
      const since = each.sinceMs;
      if (since === Infinity) continue;
      best ??= each;
      const standing = since + each.priority * this.#ageingIntervalMs;
      if (standing >= least) continue;
      least = standing;
      chosen = each;
    }
    return chosen?.next(chosen !== best);
  }

  /** The one that is next cannot run in the plan being made: `next` goes on with others. */
  pass(sequence: Sequence): void {
    if (sequence.isResumed) {
      this.#numResumedPassed += 1;
      return;
    }
    const line = this.#classOf(sequence.priority).pass(sequence, sequence.numTokens);
    this.#passed.push({ priority: sequence.priority, line });
  }

  /** The plan is made: what was passed over is next again where it was. */
  resume(): void {
    this.#numResumedPassed = 0;
    for (const { priority, line } of this.#passed.splice(0))
      this.#classes[this.#indexOf(priority)]?.resume(line);
  }

  /** The larger, the later it would be admitted if it waited; whose is largest makes way for others. */
  standingOf({ headSinceMs, priority }: Sequence): number {
    return headSinceMs + priority * this.#ageingIntervalMs;
  }

  /**
   * Tokens that are to be served before a sequence of the client that comes now: of better priorities, of its own
   * client, and of the others as far as these get them by then. `answerTokens`: of each that waits.
   */
  tokensAhead(name: string, priority: number, answerTokens: number): number {
    let ahead = 0;
    for (const { numWaitingTokens } of this.#resumed) ahead += numWaitingTokens + answerTokens;
    for (const each of this.#classes) {
      if (each.priority > priority) break;
      ahead +=
        each.priority === priority ? each.tokensAhead(name, answerTokens) : each.numTokens(answerTokens);
    }
    return ahead;
  }

  /** In order of arrival. */
  *[Symbol.iterator](): Iterator<Sequence> {
    const all = [...this.#resumed, ...this.#classes.flatMap((each) => [...each])];
    yield* all.sort((one, other) => one.arrival - other.arrival);
  }

  /** What tests check after every call; throws InvariantError. */
  checkInvariants(): void {
    const sequences = [...this];
    const byClient = new Map<Client, number>();
    for (const { client } of sequences) byClient.set(client, (byClient.get(client) ?? 0) + 1);
    assert(sequences.length === this.#length, 'those that wait are counted');
    const numTokens = sequences.reduce((sum, sequence) => sum + sequence.numWaitingTokens, 0);
    assert(numTokens === this.#numTokens, 'the tokens of those that wait are counted');
    for (const [client, count] of byClient) {
      assert(client.numWaiting === count, `${client.name}: those of it that wait are counted`);
      assert(this.clients.find(client.name) === client, `${client.name}: whose sequences wait is known`);
    }
    assert(this.#passed.length === 0, 'nothing is passed over between plans');
  }

  #count(sequence: Sequence): void {
    sequence.numWaitingTokens = sequence.numKnownTokens;
    this.#length += 1;
    this.#numTokens += sequence.numWaitingTokens;
    this.clients.wait(sequence.client, sequence.numWaitingTokens);
  }

  #classOf(priority: number): PriorityClass {
    const index = this.#indexOf(priority);
    const found = this.#classes[index];
    if (found?.priority === priority) return found;
    const added = new PriorityClass(priority);
    this.#classes.splice(index, 0, added);
    return added;
  }

  /** Of the class, or where it would stand. */
  #indexOf(priority: number): number {
    const index = this.#classes.findIndex((each) => each.priority >= priority);
    return index < 0 ? this.#classes.length : index;
  }
}
