// Where each sequence stands: waiting; running, by admission; or ended or preempted while plans in flight still name
// it.
import { assert } from '../../common/assert.js';
import { Sequence } from './sequence.js';
import type { SequenceRequest } from './step-plan.js';
import { WaitingQueue, type WaitingQueueConfig } from './waiting-queue.js';

export class SequenceQueues {
  readonly waiting: WaitingQueue;
  readonly #running: Sequence[] = [];
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
    this.waiting.arrive(sequence);
  }

  start(sequence: Sequence): void {
    this.waiting.remove(sequence);
    sequence.state = 'running';
    this.#running.push(sequence);
    if (sequence.isMasked) this.#numMasked += 1;
  }

  /** Of those that run, who makes way for the others: the worst of priority and, of these, who came last. */
  victim(): Sequence | undefined {
    let victim: Sequence | undefined;
    let largest = -Infinity;
    for (const sequence of this.#running) {
      const standing = this.waiting.standingOf(sequence);
      if (standing < largest) continue;
      largest = standing;
      victim = sequence;
    }
    return victim;
  }

  preempt(sequence: Sequence): void {
    this.#stop(sequence);
    sequence.state = 'waiting';
    this.waiting.giveBack(sequence);
    this.#draining.add(sequence);
  }

  end(sequence: Sequence): void {
    if (sequence.state === 'running') this.#stop(sequence);
    else this.waiting.remove(sequence);
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
