// Where each sequence stands: waiting; running, by admission; paused; or ended, preempted or paused while plans in
// flight still name it.
import { assert } from '../../common/assert.js';
import { Sequence } from './sequence.js';
import type { SequenceRequest } from './step-plan.js';
import { WaitingQueue, type WaitingQueueConfig } from './waiting-queue.js';

export class SequenceQueues {
  readonly waiting: WaitingQueue;
  readonly #running: Sequence[] = [];
  readonly #paused = new Set<Sequence>();
  readonly #resting = new Set<Sequence>();
  readonly #draining = new Set<Sequence>();
  readonly #unfinished = new Map<string, Sequence>();
  #numArrived = 0;
  #numMasked = 0;

  constructor(config: WaitingQueueConfig) {
    this.waiting = new WaitingQueue(config);
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** Of those that run. */
  get numMasked(): number {
    return this.#numMasked;
  }

  /** Planned no more until they are unpaused. */
  get paused(): ReadonlySet<Sequence> {
    return this.#paused;
  }

  /** Of these, the ones that have kept their slots and blocks. */
  get resting(): ReadonlySet<Sequence> {
    return this.#resting;
  }

  /** Of those, counted for each that holds them: as many can be had, or fewer. */
  get numRestingBlocks(): number {
    let sum = 0;
    for (const { blocks } of this.#resting) sum += blocks.length;
    return sum;
  }

  /** What they hold comes back later. */
  get draining(): ReadonlySet<Sequence> {
    return this.#draining;
  }

  find(sequenceId: string): Sequence | undefined {
    return this.#unfinished.get(sequenceId);
  }

  arrive(request: SequenceRequest, maxTokens: number): void {
    const { sequenceId, client = '' } = request;
    assert(!this.#unfinished.has(sequenceId), `sequence ${sequenceId} is submitted twice`);
    const sequence = new Sequence(request, this.waiting.clients.arrive(client), this.#numArrived, maxTokens);
    this.#numArrived += 1;
    this.#unfinished.set(sequenceId, sequence);
    if (request.isPaused === true) {
      sequence.state = 'paused';
      this.#paused.add(sequence);
    } else this.waiting.arrive(sequence);
  }

  start(sequence: Sequence): void {
    this.waiting.remove(sequence);
    this.#run(sequence);
  }

  #run(sequence: Sequence): void {
    sequence.state = 'running';
    this.#running.push(sequence);
    if (sequence.isMasked) this.#numMasked += 1;
  }

  /** Of those that run, who makes way for the others: the worst of priority and, of these, who came last. */
  victim(): Sequence | undefined {
    return this.#last(this.#running);
  }

  /** The same of those that rest. */
  restingVictim(): Sequence | undefined {
    return this.#last(this.#resting);
  }

  #last(sequences: Iterable<Sequence>): Sequence | undefined {
    let victim: Sequence | undefined;
    let largest = -Infinity;
    for (const sequence of sequences) {
      const standing = this.waiting.standingOf(sequence);
      if (standing < largest) continue;
      largest = standing;
      victim = sequence;
    }
    return victim;
  }

  /** It runs or rests, and gives up what it holds. */
  preempt(sequence: Sequence): void {
    if (!this.#resting.delete(sequence)) {
      this.#stop(sequence);
      sequence.state = 'waiting';
      this.waiting.giveBack(sequence);
    }
    this.#draining.add(sequence);
  }

  /**
   * It runs or waits. What others may wait for (a prefix that is not computed yet, slots of pictures) it does not keep.
   */
  pause(sequence: Sequence): 'rests' | 'gives up' {
    const rests = sequence.state === 'running' && sequence.hasSampled;
    if (sequence.state === 'running') this.#stop(sequence);
    else this.waiting.remove(sequence);
    sequence.state = 'paused';
    this.#paused.add(sequence);
    (rests ? this.#resting : this.#draining).add(sequence);
    return rests ? 'rests' : 'gives up';
  }

  unpause(sequence: Sequence): void {
    this.#paused.delete(sequence);
    if (this.#resting.delete(sequence)) this.#run(sequence);
    else {
      sequence.state = 'waiting';
      this.waiting.comeBack(sequence);
    }
  }

  end(sequence: Sequence): void {
    if (sequence.state === 'running') this.#stop(sequence);
    else if (!this.#paused.delete(sequence)) this.waiting.remove(sequence);
    this.#resting.delete(sequence);
    sequence.state = 'ended';
    this.#unfinished.delete(sequence.sequenceId);
    this.waiting.clients.leave(sequence.client);
    this.#draining.add(sequence);
  }

  #stop(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    if (sequence.isMasked) this.#numMasked -= 1;
  }

  /** False: it was not draining, or plans in flight name it still. */
  isDrained(sequence: Sequence): boolean {
    return sequence.numPlansInFlight === 0 && this.#draining.delete(sequence);
  }
}
