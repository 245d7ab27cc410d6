// Where each sequence stands: waiting, by arrival; running, by admission; or ended or preempted while plans in flight
// still name it.
import { assert } from '../../common/assert.js';
import { Sequence } from './sequence.js';
import type { SequenceRequest } from './step-plan.js';

export class SequenceQueues {
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #draining = new Set<Sequence>();
  readonly #unfinished = new Map<string, Sequence>();
  #numArrived = 0;

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  /** What they hold comes back later. */
  get draining(): ReadonlySet<Sequence> {
    return this.#draining;
  }

  find(sequenceId: string): Sequence | undefined {
    return this.#unfinished.get(sequenceId);
  }

  arrive(request: SequenceRequest, maxTokens: number): void {
    const { sequenceId } = request;
    assert(!this.#unfinished.has(sequenceId), `sequence ${sequenceId} is submitted twice`);
    const sequence = new Sequence(request, this.#numArrived, maxTokens);
    this.#numArrived += 1;
    this.#unfinished.set(sequenceId, sequence);
    this.#waiting.push(sequence);
  }

  start(sequence: Sequence): void {
    this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
    sequence.state = 'running';
    this.#running.push(sequence);
  }

  /** It waits where it would if it had not run. */
  preempt(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1);
    sequence.state = 'waiting';
    const behind = this.#waiting.findIndex((other) => other.arrival > sequence.arrival);
    this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, sequence);
    this.#draining.add(sequence);
  }

  end(sequence: Sequence): void {
    const queue = sequence.state === 'running' ? this.#running : this.#waiting;
    queue.splice(queue.indexOf(sequence), 1);
    sequence.state = 'ended';
    this.#unfinished.delete(sequence.sequenceId);
    this.#draining.add(sequence);
  }

  /** False: it was not draining, or plans in flight name it still. */
  isDrained(sequence: Sequence): boolean {
    return sequence.numPlansInFlight === 0 && this.#draining.delete(sequence);
  }
}
