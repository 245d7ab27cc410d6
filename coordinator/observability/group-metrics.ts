// Epochs and their steps -> metrics. A step is counted in plain numbers, which are handed over when asked; what the
// scheduler counts itself is read then, epoch after epoch.
import type { AppError } from '../../common/errors.js';
import type { EpochRuntime, EpochStats } from '../engine/epoch-runtime.js';
import type { Recovery } from '../engine/recovery.js';
import type { EpochEvents } from '../engine/service-listener.js';
import type { CompletedStep } from '../executor/completed-step.js';
import type { Metrics } from './metrics.js';
import { RankTotals } from './rank-totals.js';

/** Counters of the scheduler, by the name of their metric. */
const COUNTED = {
  prefixCacheQueries: 'numAdmittedTokens',
  prefixCacheHits: 'numCachedTokens',
  preemptions: 'numPreemptions',
  wastedRows: 'numWastedRows',
  picturesSent: 'numSentPictures',
  tilesEncoded: 'numEncodedTiles',
} as const satisfies Partial<Record<keyof Metrics, keyof EpochStats>>;
type Counted = keyof typeof COUNTED;

export class GroupMetrics implements EpochEvents {
  readonly #metrics: Metrics;
  readonly #ranks: RankTotals;
  #epoch: EpochRuntime | null = null;
  /** What the present epoch had counted when it was last read. */
  #read: Partial<Record<Counted, number>> = {};

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.#ranks = new RankTotals(metrics);
  }

  get numRunning(): number {
    return this.#epoch?.stats.numRunning ?? 0;
  }

  onEpochFormed(epoch: EpochRuntime): void {
    this.#metrics.epochsFormed.inc();
    this.#epoch = epoch;
    this.#read = {};
  }

  onEpochFailed(epoch: EpochRuntime, error: AppError): void {
    this.#metrics.epochFailures.inc({ cause: error.code });
    if (epoch !== this.#epoch) return;
    this.#readCounters(epoch.stats);
    this.#epoch = null;
  }

  onRecovery({ cause, phasesMs }: Recovery): void {
    this.#metrics.recoveries.inc({ cause });
    this.#metrics.recoveryTime.observe(Math.max(0, ...Object.values(phasesMs)) / 1000);
  }

  onStep(step: CompletedStep): void {
    this.#metrics.stepTokens.observe(step.numTokens);
    this.#ranks.add(step);
  }

  collect(): void {
    const metrics = this.#metrics;
    const stats = this.#epoch?.stats;
    const group = this.#epoch?.group;
    if (stats !== undefined) this.#readCounters(stats);
    this.#ranks.collect();
    metrics.groupEpoch.set(group?.groupEpoch ?? 0);
    metrics.ranks.set(group?.ranks.length ?? 0);
    const numBlocks = group?.numKvBlocks ?? 0;
    const { numFreeBlocks = 0, numKeptBlocks = 0 } = stats ?? {};
    const numHeld = numBlocks - numFreeBlocks;
    metrics.kvCacheBlocks.set({ state: 'held' }, numHeld);
    metrics.kvCacheBlocks.set({ state: 'kept' }, numKeptBlocks);
    metrics.kvCacheBlocks.set({ state: 'free' }, numFreeBlocks - numKeptBlocks);
    metrics.kvCacheUsage.set(numBlocks === 0 ? 0 : numHeld / numBlocks);
  }

  #readCounters(stats: EpochStats): void {
    for (const [name, field] of Object.entries(COUNTED) as [Counted, (typeof COUNTED)[Counted]][]) {
      this.#metrics[name].inc(stats[field] - (this.#read[name] ?? 0));
      this.#read[name] = stats[field];
    }
  }
}
