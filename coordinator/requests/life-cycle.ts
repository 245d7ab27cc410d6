// The one life of a request, and when it came to each stage of it. Pure; whether a request is over is asked here and
// nowhere else.
//
//   received -> encoded -> queued -> running -> first-token -> ended
//       |          |          |         |                        ^
//       +----------+----------+---------+------------------------+   refused, cancelled, failed, its deadline passed
import { assert } from '../../common/assert.js';
import type { GenerationTimings } from './generation.js';
import { TimeOnRanks } from './time-on-ranks.js';

export const STAGES = ['received', 'encoded', 'queued', 'running', 'first-token', 'ended'] as const;
export type Stage = (typeof STAGES)[number];
/**
 * What may happen to it on the way, any number of times: its epoch is over; the next one has given it a token; its
 * reader is behind, so that no step is planned for it; its reader has caught up.
 */
export type Interruption = 'interrupted' | 'resumed' | 'paused' | 'unpaused';

export class LifeCycle {
  readonly onRanks = new TimeOnRanks();
  #stage: Stage = 'received';
  readonly #times: Partial<Record<Stage, number>>;

  constructor(receivedAtMs: number) {
    this.#times = { received: receivedAtMs };
  }

  get stage(): Stage {
    return this.#stage;
  }

  get isOver(): boolean {
    return this.#stage === 'ended';
  }

  /** Null: it has not come so far. */
  timeOf(stage: Stage): number | null {
    return this.#times[stage] ?? null;
  }

  /**
   * Comes to the next stage, or from any to its end. False when it was there already: a preempted request runs again.
   */
  reach(stage: Stage, atMs: number): boolean {
    if (this.#times[stage] !== undefined) return false;
    assert(!this.isOver, `a request that is over becomes ${stage}`);
    const isNext = STAGES.indexOf(stage) === STAGES.indexOf(this.#stage) + 1;
    assert(isNext || stage === 'ended', `a request that is ${this.#stage} becomes ${stage}`);
    this.#stage = stage;
    this.#times[stage] = atMs;
    return true;
  }
}

/** Of a request that is about to be answered with so many tokens. */
export function timingsOf(life: LifeCycle, numTokens: number, nowMs: number): GenerationTimings {
  const receivedMs = life.timeOf('received')!;
  const firstTokenMs = life.timeOf('first-token') ?? nowMs;
  const ttftMs = firstTokenMs - receivedMs;
  const totalMs = nowMs - receivedMs;
  return {
    queueMs: (life.timeOf('running') ?? receivedMs) - receivedMs,
    ttftMs,
    tpotMs: numTokens < 2 ? 0 : (totalMs - ttftMs) / (numTokens - 1),
    totalMs,
    encodeMs: (life.timeOf('encoded') ?? receivedMs) - receivedMs,
    prefillMs: firstTokenMs - (life.timeOf('running') ?? firstTokenMs),
    decodeMs: nowMs - firstTokenMs,
    ranks: life.onRanks.spent(),
  };
}
