// A NativeEngine whose steps take a given time of a device that nobody slows down: a step begins when its plan is there
// and the one before it has ended, and takes exactly so long, whenever JavaScript comes to telling it. So the time from
// one end to the next is the step, and more only where its plan came late. It computes nothing: tokens follow from the
// step, which is cheap, equal on all ranks, and wrong for anything but load.
import { FakeEngine } from '../../test/support/fake-engine.js';
import type { NativeProgress, NativeStepPlan, NativeStepResult } from '../../common/native/native.js';
import { Histogram, type Times } from './histogram.js';

/** Lower-case letters of the bundled model's vocabulary. */
const FIRST_TOKEN = 64;
const NUM_TOKENS = 26;

type Listener = (error: Error | null, result: NativeStepResult | null) => void;

export class SimulatedEngine extends FakeEngine {
  readonly #stepMs: number;
  readonly #queue: { readonly plan: NativeStepPlan; readonly endMs: number; readonly waitMs: number }[] = [];
  /** By slot: tokens that are there and not computed, so that the end of a prompt is known. */
  readonly #left = new Map<number, number>();
  #listener: Listener | null = null;
  #timer: NodeJS.Timeout | null = null;
  #endMs = 0;
  #epoch = 0;
  #lastStep = 0;
  /** From the end of one step to the end of the next. */
  readonly #intervals = new Histogram();

  constructor(device: string, stepMs: number) {
    super(device, { availableBytes: 2 ** 31 });
    this.#stepMs = stepMs;
  }

  override onStep(listener: Listener): void {
    this.#listener = listener;
  }

  override submitStep(plan: NativeStepPlan): boolean {
    const beginMs = Math.max(performance.now(), this.#endMs);
    const endMs = beginMs + this.#stepMs;
    const waitMs = this.#endMs > 0 ? beginMs - this.#endMs : 0;
    if (this.#endMs > 0) this.#intervals.add(endMs - this.#endMs);
    this.#endMs = endMs;
    this.#epoch = plan.groupEpoch;
    this.#queue.push({ plan, endMs, waitMs });
    this.#wait();
    return true;
  }

  override abort(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#queue.length = 0;
  }

  override endEpoch(): Promise<void> {
    this.abort();
    this.#left.clear();
    return super.endEpoch();
  }

  override progress(): NativeProgress {
    return { ...super.progress(), groupEpoch: this.#epoch, lastStep: this.#lastStep, idleMs: 0 };
  }

  /** Of the steps since it was last asked. */
  takeIntervals(): Times {
    return this.#intervals.take();
  }

  #wait(): void {
    const [first] = this.#queue;
    if (this.#timer !== null || first === undefined) return;
    // Timers count whole milliseconds; what is left behind the last of them is spent on turns of the loop.
    const waitMs = Math.floor(first.endMs - performance.now());
    if (waitMs > 0) this.#timer = setTimeout(() => this.#again(), waitMs);
    else setImmediate(() => this.#deliver());
  }

  #again(): void {
    this.#timer = null;
    this.#wait();
  }

  #deliver(): void {
    const [first] = this.#queue;
    if (first !== undefined && performance.now() >= first.endMs) {
      this.#queue.shift();
      this.#lastStep = first.plan.step;
      this.#listener?.(null, this.#result(first.plan, first.waitMs));
    }
    this.#wait();
  }

  #result(plan: NativeStepPlan, waitMs: number): NativeStepResult {
    for (const slot of plan.releasedSlots) this.#left.delete(slot);
    for (const { slot, tokenIds, numComputedTokens } of plan.newSequences)
      this.#left.set(slot, tokenIds.length - numComputedTokens);
    const slots: number[] = [];
    for (const [index, slot] of plan.scheduledSlots.entries()) {
      const left = this.#left.get(slot)! - plan.scheduledTokens[index]!;
      this.#left.set(slot, left === 0 ? 1 : left);
      if (left === 0) slots.push(slot);
    }
    const count = slots.length;
    return {
      groupEpoch: plan.groupEpoch,
      step: plan.step,
      slots: Uint32Array.from(slots),
      tokenOffsets: Uint32Array.from({ length: count + 1 }, (_, index) => index),
      tokenIds: Uint32Array.from(slots, (slot) => FIRST_TOKEN + ((plan.step + slot) % NUM_TOKENS)),
      logprobs: new Float32Array(count).fill(Number.NaN),
      topOffsets: new Uint32Array(count + 1),
      topIds: new Uint32Array(0),
      topLogprobs: new Float32Array(0),
      sampleHash: BigInt(plan.step * 4096 + count),
      stepNs: this.#stepMs * 1e6,
      collectiveNs: 0,
      planWaitNs: Math.round(waitMs * 1e6),
      samplingNs: 0,
    };
  }
}
