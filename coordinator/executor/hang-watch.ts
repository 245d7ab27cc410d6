// Watches the ranks of a group from its first step on: gathers what each shows of itself, has it judged
// (hang-verdict.ts) several times a second, and says who hangs, in words. Where this process itself stood still, all
// have their time anew.
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { uint64ToNumber } from '../../common/proto.js';
import type { StepProgress__Output } from '../../proto/ts/skein/worker/v1/StepProgress.js';
import { judgeHang, type HangVerdict, type RankPhase, type RankProgress } from './hang-verdict.js';

export interface HangWatchOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** By rank. */
  readonly addresses: readonly string[];
  /** The oldest step that a rank was sent and has not answered; null: none. */
  readonly stepOwed: (rank: number) => number | null;
  /** Called once. */
  readonly onHang: (error: AppError, verdict: HangVerdict) => void;
}

const INTERVAL_MS = 250;
/** Looking so much later than before means that this process stood still. */
const MAX_GAP_MS = 1_000;
/** Two reports so far apart tell how much of a processor was taken between them. */
const MIN_SPAN_MS = 500;

const PHASES: Readonly<Record<StepProgress__Output['phase'], RankPhase>> = {
  ENGINE_PHASE_UNSPECIFIED: 'unknown',
  ENGINE_PHASE_IDLE: 'idle',
  ENGINE_PHASE_LOAD: 'load',
  ENGINE_PHASE_JOIN: 'join',
  ENGINE_PHASE_VISION: 'vision',
  ENGINE_PHASE_DECODER: 'decoder',
  ENGINE_PHASE_SAMPLING: 'sampling',
};

interface Report {
  readonly progress: RankProgress;
  readonly idleMs: number;
  /** Of the first report with the same counters. */
  readonly firstIdleMs: number;
  readonly firstCpuMs: number;
}

interface Watched {
  heardAtMs: number;
  /** When it last answered a step, or was given one that it could begin at once. */
  sinceMs: number;
  /** Null: none since then. */
  report: Report | null;
}

export class HangWatch {
  readonly #options: HangWatchOptions;
  readonly #ranks: readonly Watched[];
  #lookedAtMs: number;
  #timer: Timer;

  constructor(options: HangWatchOptions) {
    const heardAtMs = (this.#lookedAtMs = options.clock.nowMs());
    this.#options = options;
    this.#ranks = options.addresses.map(() => ({
      ...{ heardAtMs, sinceMs: heardAtMs, report: null },
    }));
    this.#timer = this.#wait();
  }

  stop(): void {
    this.#timer.cancel();
  }

  /** A step is about to be sent to all: for who has answered every step before it, time begins now. */
  onPlan(): void {
    for (const [rank, watched] of this.#ranks.entries())
      if (this.#options.stepOwed(rank) === null) this.#begin(watched);
  }

  onResult(rank: number): void {
    const watched = this.#ranks[rank]!;
    watched.heardAtMs = this.#options.clock.nowMs();
    this.#begin(watched);
  }

  onProgress(rank: number, message: StepProgress__Output): void {
    const watched = this.#ranks[rank]!;
    const nowMs = (watched.heardAtMs = this.#options.clock.nowMs());
    watched.report = toReport(message, watched.report, nowMs - watched.sinceMs);
  }

  #begin(watched: Watched): void {
    watched.sinceMs = this.#options.clock.nowMs();
    watched.report = null;
  }

  #wait(): Timer {
    return this.#options.clock.setTimer(INTERVAL_MS, () => this.#look());
  }

  #look(): void {
    const { clock, timeoutMs, stepOwed, onHang } = this.#options;
    const nowMs = clock.nowMs();
    // What arrived meanwhile has not been handled yet.
    if (nowMs - this.#lookedAtMs > MAX_GAP_MS) for (const rank of this.#ranks) rank.heardAtMs = nowMs;
    this.#lookedAtMs = nowMs;
    const signals = this.#ranks.map(({ heardAtMs, report }, rank) => ({
      silentMs: nowMs - heardAtMs,
      owesStep: stepOwed(rank) !== null,
      progress: report?.progress ?? null,
    }));
    const verdict = judgeHang(signals, timeoutMs);
    if (verdict === null) this.#timer = this.#wait();
    else onHang(this.#tell(verdict), verdict);
  }

  #tell({ ranks, kind }: HangVerdict): AppError {
    const { timeoutMs, stepOwed, addresses } = this.#options;
    const rank = ranks[0] ?? 0;
    const progress = this.#ranks[rank]!.report?.progress ?? null;
    const step = stepOwed(rank);
    const phase = kind === 'collective' ? kind : (progress?.phase ?? (step === null ? 'idle' : 'step'));
    const where =
      (step === null ? 'between steps' : `in step ${step}`) +
      (progress === null ? '' : `, phase ${progress.phase}, after ${progress.collectives} collectives`);
    const who = ranks.length > 1 ? `ranks ${ranks.join(' and ')} hang` : `rank ${rank} hangs`;
    const message = {
      silent: `${who}: not heard for ${timeoutMs} ms, ${where}`,
      behind: `${who}: no progress for ${timeoutMs} ms, ${where}`,
      collective: `all ranks hang: none has got out of a collective for ${timeoutMs} ms, ${where}`,
    }[kind];
    const details =
      kind === 'collective' ? { phase, step } : { rank, address: addresses[rank]!, phase, step };
    return new AppError('RANK_HUNG', message, { details });
  }
}

/** `workMs`: for how long it has had something to do, before which it stood still with reason. */
function toReport(message: StepProgress__Output, before: Report | null, workMs: number): Report {
  const idleMs = uint64ToNumber(message.idleMs, 'progress.idle_ms');
  const cpuMs = uint64ToNumber(message.cpuMs, 'progress.cpu_ms');
  const counters = {
    lastStep: uint64ToNumber(message.lastStep, 'progress.last_step'),
    collectives: uint64ToNumber(message.collectives, 'progress.collectives'),
    deviceCalls: uint64ToNumber(message.deviceCalls, 'progress.device_calls'),
  };
  const hasMoved =
    before === null ||
    idleMs < before.idleMs ||
    counters.lastStep !== before.progress.lastStep ||
    counters.collectives !== before.progress.collectives ||
    counters.deviceCalls !== before.progress.deviceCalls;
  const firstIdleMs = hasMoved ? idleMs : before.firstIdleMs;
  const firstCpuMs = hasMoved ? cpuMs : before.firstCpuMs;
  const spanMs = idleMs - firstIdleMs;
  return {
    progress: {
      ...counters,
      phase: PHASES[message.phase],
      inCollective: message.inCollective,
      // A device moves without its host: how long it has not is known from the first report on.
      stillMs: Math.min(counters.deviceCalls > 0 ? spanMs : idleMs, workMs),
      cpuShare: spanMs < MIN_SPAN_MS ? null : (cpuMs - firstCpuMs) / spanMs,
    },
    idleMs,
    firstIdleMs,
    firstCpuMs,
  };
}
