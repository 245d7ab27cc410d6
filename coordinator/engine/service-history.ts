// What happened lately, for who looks at the service: steps as one entry a second, and states, epochs, losses and
// recoveries as they came. Bounded; the oldest goes. Times are dates here, as a reader on another machine needs them.
import type { ClusterEvent, TimelineSecond } from '../../common/cluster-report.js';
import type { AppError } from '../../common/errors.js';
import { MAX_HISTORY_EVENTS, MAX_HISTORY_SECONDS } from '../../common/limits.js';
import type { CompletedStep } from '../executor/completed-step.js';
import type { EngineState } from './engine.js';
import type { Recovery } from './recovery.js';
import type { EpochEvents } from './service-listener.js';

/** Of a step, what is kept of it. */
export type HistoryStep = Pick<CompletedStep, 'numTokens' | 'numSampled' | 'ranks'>;

/** Of an epoch, what is asked of it. */
export interface HistoryEpoch {
  readonly group: {
    readonly groupEpoch: number;
    readonly numKvBlocks: number;
    readonly ranks: ArrayLike<unknown>;
  };
  readonly stats: {
    readonly numRunning: number;
    readonly numWaiting: number;
    readonly numFreeBlocks: number;
  };
}

interface OpenSecond {
  readonly atS: number;
  numSteps: number;
  numTokens: number;
  numSampled: number;
  readonly stepNs: number[];
  readonly collectiveNs: number[];
  numRunning: number;
  numWaiting: number;
  numUsedBlocks: number;
}

const NS_PER_MS = 1e6;

export class ServiceHistory implements EpochEvents {
  readonly #unixMs: () => number;
  readonly #seconds: TimelineSecond[] = [];
  readonly #events: ClusterEvent[] = [];
  #open: OpenSecond | null = null;
  #epoch: HistoryEpoch | null = null;
  #numEpochs = 0;
  #state: EngineState | null = null;

  /** `unixMs`: the date. */
  constructor(unixMs: () => number) {
    this.#unixMs = unixMs;
  }

  /** The oldest first. */
  get events(): readonly ClusterEvent[] {
    return [...this.#events];
  }

  /** Which one of this service's the present epoch is, from 1; 0: there has been none. */
  get epochNumber(): number {
    return this.#numEpochs;
  }

  /** Complete seconds after `afterS`, the oldest first. */
  secondsAfter(afterS: number): TimelineSecond[] {
    const nowS = this.#nowS;
    this.#closeBefore(nowS);
    return this.#seconds.filter(({ at_s: atS }) => atS > afterS && atS > nowS - MAX_HISTORY_SECONDS);
  }

  onStep({ numTokens, numSampled, ranks }: HistoryStep): void {
    const atS = this.#nowS;
    this.#closeBefore(atS);
    this.#open ??= emptySecond(atS, ranks.length);
    const second = this.#open;
    second.numSteps += 1;
    second.numTokens += numTokens;
    second.numSampled += numSampled;
    for (const [rank, { stepNs, collectiveNs }] of ranks.entries()) {
      second.stepNs[rank] = (second.stepNs[rank] ?? 0) + stepNs;
      second.collectiveNs[rank] = (second.collectiveNs[rank] ?? 0) + collectiveNs;
    }
    this.#addLoad(second);
  }

  onEngineState(state: EngineState): void {
    // Several states within are one to who looks from outside.
    if (state === this.#state) return;
    this.#state = state;
    this.#add({ kind: 'state', at_ms: this.#unixMs(), state });
  }

  onEpochFormed(epoch: HistoryEpoch): void {
    this.#epoch = epoch;
    this.#numEpochs += 1;
    const { groupEpoch, ranks } = epoch.group;
    this.#add({ kind: 'epoch', ...this.#stamp(groupEpoch), num_ranks: ranks.length });
  }

  onEpochFailed({ group }: HistoryEpoch, { code, message }: AppError): void {
    this.#add({ kind: 'lost', ...this.#stamp(group.groupEpoch), code, reason: message });
  }

  onRecovery({ groupEpoch, numRequests, numAttempts, phasesMs }: Recovery): void {
    this.#add({
      kind: 'recovery',
      ...this.#stamp(groupEpoch),
      num_requests: numRequests,
      num_attempts: numAttempts,
      phases_ms: phasesMs,
    });
  }

  #stamp(groupEpoch: number): { at_ms: number; group_epoch: number; epoch_number: number } {
    return { at_ms: this.#unixMs(), group_epoch: groupEpoch, epoch_number: this.#numEpochs };
  }

  get #nowS(): number {
    return Math.floor(this.#unixMs() / 1000);
  }

  #addLoad(second: OpenSecond): void {
    if (this.#epoch === null) return;
    const { group, stats } = this.#epoch;
    const { numRunning, numWaiting, numFreeBlocks } = stats;
    second.numRunning = Math.max(second.numRunning, numRunning);
    second.numWaiting = Math.max(second.numWaiting, numWaiting);
    second.numUsedBlocks = Math.max(second.numUsedBlocks, group.numKvBlocks - numFreeBlocks);
  }

  #closeBefore(nowS: number): void {
    const second = this.#open;
    if (second === null || second.atS === nowS) return;
    this.#open = null;
    const meanMs = (ns: number): number => Math.round((ns / second.numSteps / NS_PER_MS) * 1000) / 1000;
    this.#seconds.push({
      at_s: second.atS,
      num_steps: second.numSteps,
      num_tokens: second.numTokens,
      num_sampled: second.numSampled,
      step_ms: second.stepNs.map(meanMs),
      collective_ms: second.collectiveNs.map(meanMs),
      num_running: second.numRunning,
      num_waiting: second.numWaiting,
      num_used_blocks: second.numUsedBlocks,
    });
    if (this.#seconds.length > MAX_HISTORY_SECONDS) this.#seconds.shift();
  }

  #add(event: ClusterEvent): void {
    this.#events.push(event);
    if (this.#events.length > MAX_HISTORY_EVENTS) this.#events.shift();
  }
}

function emptySecond(atS: number, numRanks: number): OpenSecond {
  return {
    ...{ atS, numSteps: 0, numTokens: 0, numSampled: 0 },
    stepNs: new Array<number>(numRanks).fill(0),
    collectiveNs: new Array<number>(numRanks).fill(0),
    ...{ numRunning: 0, numWaiting: 0, numUsedBlocks: 0 },
  };
}
