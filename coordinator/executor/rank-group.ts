// All ranks of one epoch: plans go to every rank, a step is done when every rank has answered and all sampled the
// same. The first failure ends the epoch: the others are told to abort, and nothing more comes out of this group.
import type { Clock, Timer } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { CAUSE_GRACE_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { uint64ToNumber } from '../../common/proto.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';
import type { StepPlan } from '../scheduler/step-plan.js';
import type { RankTimes } from './completed-step.js';
import { HangWatch } from './hang-watch.js';
import type { RankClient } from './rank-client.js';
import type { RankInfo } from './rank-info.js';
import {
  decodeRankTimes,
  decodeStepResult,
  encodeStepPlan,
  type StepResult,
  type VocabularyRows,
} from './step-messages.js';

export interface RankGroupListener {
  /** `ranks`: what the step took on each. */
  onResult(result: StepResult, ranks: readonly RankTimes[]): void;
  /** The epoch is over; called once. */
  onFailure(error: AppError): void;
}

interface PendingStep {
  readonly step: number;
  numAnswers: number;
  sampleHash: string | null;
  result: StepResult | null;
  readonly ranks: RankTimes[];
}

const CONSEQUENCES: ReadonlySet<string> = new Set(['COLLECTIVE_ERROR', 'ABORTED', 'STALE_EPOCH']);

export class RankGroup {
  readonly groupEpoch: number;
  readonly ranks: readonly RankInfo[];
  readonly numKvBlocks: number;
  readonly collective: string;
  readonly #clients: readonly RankClient[];
  readonly #vocabularyRows: readonly VocabularyRows[];
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #hangTimeoutMs: number;
  readonly #nextStep: number[];
  readonly #pending: PendingStep[] = [];
  #listener: RankGroupListener | null = null;
  #failure: AppError | null = null;
  #lastSent = 0;
  #watch: HangWatch | null = null;
  #suspicion: { readonly error: AppError; readonly timer: Timer } | null = null;

  constructor(options: {
    readonly groupEpoch: number;
    readonly ranks: readonly RankInfo[];
    readonly numKvBlocks: number;
    readonly collective: string;
    readonly clients: readonly RankClient[];
    /** By rank. */
    readonly vocabularyRows: readonly VocabularyRows[];
    readonly hangTimeoutMs: number;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.groupEpoch = options.groupEpoch;
    this.ranks = options.ranks;
    this.numKvBlocks = options.numKvBlocks;
    this.collective = options.collective;
    this.#clients = options.clients;
    this.#vocabularyRows = options.vocabularyRows;
    this.#clock = options.clock;
    this.#logger = options.logger.child({ groupEpoch: options.groupEpoch });
    this.#nextStep = this.#clients.map(() => 1);
    this.#hangTimeoutMs = options.hangTimeoutMs;
  }

  get isOnGpu(): boolean {
    return this.ranks.some((rank) => rank.device !== 'cpu');
  }

  get failure(): AppError | null {
    return this.#failure;
  }

  /** Results come from now on. */
  start(listener: RankGroupListener): void {
    this.#listener = listener;
    this.#watch = this.#watchRanks();
    for (const [index, client] of this.#clients.entries()) {
      client.listen({
        onResult: (result) => this.#onResult(index, result),
        onProgress: (progress) => this.#watch?.onProgress(index, progress),
        onFailure: (error) => this.#suspect(error),
      });
    }
    // A rank may have been lost between joining and now.
    if (this.#failure !== null) listener.onFailure(this.#failure);
  }

  execute(plan: StepPlan): void {
    if (this.#failure !== null) return;
    this.#pending.push({ step: plan.step, numAnswers: 0, sampleHash: null, result: null, ranks: [] });
    this.#watch?.onPlan();
    this.#lastSent = plan.step;
    // Without masks all ranks get the same bytes.
    let bytes: Buffer | null = null;
    for (const [rank, client] of this.#clients.entries()) {
      if (bytes === null || plan.masks.length > 0)
        bytes = encodeStepPlan(plan, this.groupEpoch, this.#vocabularyRows[rank]!);
      client.sendPlan(bytes);
    }
  }

  /** True when every rank holds the picture; false: the epoch ends, once the group knows why. */
  async putPicture(pictureId: number, tileSlots: readonly number[], pixels: Uint8Array): Promise<boolean> {
    const puts = this.#clients.map((client) => client.putPixels(pictureId, tileSlots, pixels));
    try {
      await Promise.all(puts);
      return true;
    } catch (error) {
      this.#suspect(toAppError(error));
      return false;
    }
  }

  /** Ends the epoch for a reason that the group cannot see itself: a deadline, a process that ended. */
  fail(error: AppError): void {
    this.#suspicion?.timer.cancel();
    this.#suspicion = null;
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#watch?.stop();
    this.#logger.warn({ code: error.code, err: error }, 'the epoch failed');
    this.#abandon(error.code);
    this.#listener?.onFailure(error);
  }

  /** Ends the epoch in peace. */
  close(): void {
    this.#failure ??= new AppError('CANCELLED', 'the group is closed');
    this.#suspicion?.timer.cancel();
    this.#watch?.stop();
    for (const client of this.#clients) client.close();
  }

  #watchRanks(): HangWatch {
    return new HangWatch({
      clock: this.#clock,
      timeoutMs: this.#hangTimeoutMs,
      addresses: this.#clients.map(({ address }) => address),
      stepOwed: (rank) => (this.#nextStep[rank]! <= this.#lastSent ? this.#nextStep[rank]! : null),
      onHang: (error, { ranks, kind }) => {
        // Who is only silent, and comes back, still has its weights; an engine that is stuck ends with its process.
        if (kind === 'behind')
          for (const rank of ranks) this.#clients[rank]!.shutDown(error.code).catch(() => undefined);
        this.fail(error);
      },
    });
  }

  /** Wakes the survivors, which may wait in a collective; who cannot be reached is gone already. */
  #abandon(reason: string): void {
    this.#pending.length = 0;
    for (const client of this.#clients) {
      client.abort(reason).catch(() => undefined);
      client.closeSteps();
    }
  }

  #suspect(error: AppError): void {
    if (this.#failure !== null) return;
    if (!CONSEQUENCES.has(error.code)) {
      this.fail(error);
    } else if (this.#suspicion === null) {
      const timer = this.#clock.setTimer(CAUSE_GRACE_MS, () => this.fail(error));
      this.#suspicion = { error, timer };
    }
  }

  #onResult(index: number, message: StepResult__Output): void {
    if (this.#failure !== null) return;
    this.#watch?.onResult(index);
    try {
      this.#gather(index, message);
    } catch (error) {
      this.fail(toAppError(error));
    }
  }

  #gather(index: number, message: StepResult__Output): void {
    const expected = this.#nextStep[index]!;
    const step = uint64ToNumber(message.step, 'result.step');
    const pending = this.#pending[step - (this.#pending[0]?.step ?? 0)];
    if (
      step !== expected ||
      pending === undefined ||
      uint64ToNumber(message.groupEpoch, 'result.group_epoch') !== this.groupEpoch
    ) {
      throw new AppError(
        'STEP_OUT_OF_ORDER',
        `rank ${index} answered step ${step} of epoch ${message.groupEpoch}; expected ${expected}`,
      );
    }
    this.#nextStep[index] = expected + 1;
    if (pending.sampleHash !== null && pending.sampleHash !== message.sampleHash) {
      throw new AppError(
        'RANKS_DISAGREE',
        `rank ${index} sampled other tokens in step ${step} than the ranks before it`,
        {
          details: { rank: index, step },
        },
      );
    }
    pending.sampleHash = message.sampleHash;
    if (index === 0) pending.result = decodeStepResult(message);
    pending.ranks[index] = decodeRankTimes(message);
    pending.numAnswers += 1;
    if (pending.numAnswers < this.#clients.length || pending.result === null) return;
    // Steps complete in order: every rank answers in order, so the oldest is the first to have all answers.
    this.#pending.shift();
    this.#listener?.onResult(pending.result, pending.ranks);
  }
}
