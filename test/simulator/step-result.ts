// What a simulated engine answers a plan with: the tokens that it sampled, and what the step took of simulated time.
import type { NativeStepPlan, NativeStepResult } from '../../common/native/native.js';

export type StepTimes = Pick<NativeStepResult, 'stepNs' | 'planWaitNs'>;

/** Of one epoch's steps. */
export class StepTimer {
  #endedAtMs: number | null = null;

  end(beganAtMs: number, endedAtMs: number): StepTimes {
    const waitedMs = this.#endedAtMs === null ? 0 : beganAtMs - this.#endedAtMs;
    this.#endedAtMs = endedAtMs;
    return { stepNs: Math.round((endedAtMs - beganAtMs) * 1e6), planWaitNs: Math.round(waitedMs * 1e6) };
  }
}

export function toResult(
  plan: NativeStepPlan,
  sampled: readonly [number, number][],
  times: StepTimes,
): NativeStepResult {
  let hash = 0n;
  for (const [slot, token] of sampled)
    hash = BigInt.asUintN(64, hash * 1_000_003n + BigInt(slot * 64 + token));
  return {
    groupEpoch: plan.groupEpoch,
    step: plan.step,
    slots: Uint32Array.from(sampled, ([slot]) => slot),
    tokenOffsets: Uint32Array.from({ length: sampled.length + 1 }, (_, index) => index),
    tokenIds: Uint32Array.from(sampled, ([, token]) => token),
    logprobs: new Float32Array(sampled.length).fill(NaN),
    topOffsets: new Uint32Array(sampled.length + 1),
    topIds: new Uint32Array(),
    topLogprobs: new Float32Array(),
    sampleHash: hash,
    ...{ collectiveNs: 0, samplingNs: 0 },
    ...times,
  };
}
