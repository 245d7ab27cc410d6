// How many tokens of prompts a step may compute while other sequences wait for their next tokens, so that these come at
// most so many times as slowly as without prompts. Where a fixed number of tokens a step (Agrawal et al., "Taming
// Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI 2024) suits one machine, this keeps accounts
// of time: a step earns what it would have taken without prompts, and pays what it took longer. Both are learned from
// the steps as they come back. Where first tokens are waited for longer than a while, the bound grows with that time,
// so that under no load the one grows without end for the other's sake, unless that while has no end. Pure: its times
// are given to it.
import type { StepPlan } from '../scheduler/step-plan.js';
import type { CompletedStep } from './completed-step.js';
import { FirstTokens } from './first-tokens.js';

/** Of a new measurement in what is known; a step in eight. */
const WEIGHT = 1 / 8;
/**
 * Of what a step takes: less is not begun, but saved up for. Few tokens of a prompt cost a step nearly what many do, so
 * that in small chunks prompts took twice as long and left more sequences to share the time of decodes.
 */
const MIN_CHUNK_SHARE = 1 / 4;
/** After so many steps with prompts in a row one goes without, so that it stays known how long that takes. */
const MAX_MIXED_STEPS = 64;
const NS_PER_MS = 1e6;

type SentPlan = Pick<StepPlan, 'scheduledTokens' | 'numPrefillTokens'>;
type DoneStep = Pick<CompletedStep, 'numTokens' | 'numPrefillTokens' | 'encodesTiles' | 'ranks'>;

export class PrefillBudget {
  readonly firstTokens = new FirstTokens();
  readonly #maxSlowdown: number;
  readonly #maxStepTokens: number;
  readonly #patienceMs: number;
  /** Milliseconds of a step of decodes alone, by the binary logarithm of their number, rounded up. */
  readonly #decodeMs: number[] = [];
  #msPerToken = NaN;
  #balanceMs = 0;
  /** What the plans in flight are expected to pay, in order. */
  readonly #expectedMs: number[] = [];
  #numMixedSteps = 0;
  /** The bound as the time that is waited for first tokens has made it. */
  #slowdown: number;

  /** `maxSlowdown`: above 1; `patienceMs`: above 0. */
  constructor(maxSlowdown: number, maxStepTokens: number, patienceMs: number) {
    this.#maxSlowdown = maxSlowdown;
    this.#slowdown = maxSlowdown;
    this.#maxStepTokens = maxStepTokens;
    this.#patienceMs = patienceMs;
  }

  /** For the plan that is made now; Infinity: as many as a step takes. */
  tokensAt(nowMs: number): number {
    const waitedMs = this.firstTokens.waitedMs(nowMs);
    this.#slowdown = this.#maxSlowdown * Math.max(waitedMs / this.#patienceMs, 1);
    const isKnown = this.#decodeMs.length > 0 && this.#msPerToken > 0;
    if (!isKnown) return Infinity;
    if (this.#numMixedSteps >= MAX_MIXED_STEPS) return 0;
    let left = this.#balanceMs;
    for (const ms of this.#expectedMs) left -= ms;
    const tokens = Math.floor(left / this.#msPerToken);
    return tokens < this.#maxStepTokens * MIN_CHUNK_SHARE ? 0 : tokens;
  }

  sent({ scheduledTokens, numPrefillTokens }: SentPlan): void {
    const hasDecodes = scheduledTokens.length > 0 && numDecodesOf(scheduledTokens, numPrefillTokens) > 0;
    const isMixed = hasDecodes && numPrefillTokens > 0;
    this.#expectedMs.push(isMixed && this.#msPerToken > 0 ? numPrefillTokens * this.#msPerToken : 0);
    this.#numMixedSteps = isMixed ? this.#numMixedSteps + 1 : 0;
  }

  /** Steps come back in the order in which they were sent. */
  completed({ numTokens, numPrefillTokens, encodesTiles, ranks }: DoneStep): void {
    this.#expectedMs.shift();
    const ms = Math.max(...ranks.map(({ stepNs }) => stepNs)) / NS_PER_MS;
    const numDecodes = numTokens - numPrefillTokens;
    if (numDecodes === 0) {
      // Nobody waited for it. What it took is a first guess of what prompts take.
      if (numPrefillTokens > 0 && !encodesTiles && Number.isNaN(this.#msPerToken))
        this.#msPerToken = ms / numPrefillTokens;
      this.#balanceMs = this.#mostMs();
      return;
    }
    if (numPrefillTokens === 0 && !encodesTiles) this.#learnDecode(numDecodes, ms);
    const aloneMs = this.#decodeMsOf(numDecodes);
    if (Number.isNaN(aloneMs)) return;
    const paidMs = numPrefillTokens > 0 || encodesTiles ? Math.max(ms - aloneMs, 0) : 0;
    if (numPrefillTokens > 0 && !encodesTiles)
      this.#msPerToken = blend(this.#msPerToken, paidMs / numPrefillTokens);
    const earnedMs = (this.#slowdown - 1) * aloneMs;
    this.#balanceMs = Math.min(this.#balanceMs + earnedMs - paidMs, this.#mostMs());
  }

  /** A whole step of prompts at once, after some time without any. */
  #mostMs(): number {
    return this.#msPerToken > 0 ? this.#maxStepTokens * this.#msPerToken : 0;
  }

  #learnDecode(numDecodes: number, ms: number): void {
    const index = sizeClass(numDecodes);
    this.#decodeMs[index] = blend(this.#decodeMs[index] ?? NaN, ms);
  }

  /** Of the nearest number that is known, a smaller one first: it is no longer than the one that is asked for. */
  #decodeMsOf(numDecodes: number): number {
    const index = sizeClass(numDecodes);
    for (let below = index; below >= 0; below -= 1) {
      const ms = this.#decodeMs[below];
      if (ms !== undefined) return ms;
    }
    return this.#decodeMs.find((ms) => ms !== undefined) ?? NaN;
  }
}

function numDecodesOf(scheduledTokens: readonly number[], numPrefillTokens: number): number {
  let numTokens = 0;
  for (const count of scheduledTokens) numTokens += count;
  return numTokens - numPrefillTokens;
}

function sizeClass(numDecodes: number): number {
  return Math.ceil(Math.log2(numDecodes));
}

function blend(known: number, measured: number): number {
  return Number.isNaN(known) ? measured : known + WEIGHT * (measured - known);
}
