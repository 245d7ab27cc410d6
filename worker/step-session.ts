// One step stream, whatever carries it: its first message opens an epoch, plans follow, results go back, and both ends
// show that they are there. The epoch ends with the stream and the stream with the epoch.
import type { Clock } from '../common/clock.js';
import { AppError, toAppError } from '../common/errors.js';
import { COORDINATOR_SILENCE_MS, SIGN_OF_LIFE_INTERVAL_MS } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import { SilenceWatch } from '../common/silence-watch.js';
import type { ExecuteRequest__Output } from '../proto/ts/skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse } from '../proto/ts/skein/worker/v1/ExecuteResponse.js';
import { toNativeStepPlan, toStepProgress, toStepResult } from './convert-step.js';
import { parseFence } from './epoch-guard.js';
import type { NativeStepPlan } from '../common/native/native.js';
import type { StepRunner, StepSink } from './step-runner.js';

/** The worker's end of the stream. Nothing is sent after `end`. */
export interface StepStreamPort {
  /** Bounded by the plans in flight: the coordinator sends none before it has read an earlier result. */
  send(message: ExecuteResponse): void;
  /** Null: in peace. */
  end(error: AppError | null): void;
}

export interface StepSessionOptions {
  readonly runner: StepRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly port: StepStreamPort;
  /** Of the coordinator, after which it is given up. */
  readonly silenceMs?: number | undefined;
  /** The epoch is open, or over: the coordinator is there, or has left. */
  readonly onHeld: () => void;
  readonly onReleased: () => void;
}

export class StepSession {
  readonly #options: StepSessionOptions;
  readonly #sink: StepSink;
  #watch: SilenceWatch | null = null;
  #hasSpoken = false;
  #isHeld = false;
  #isOver = false;

  constructor(options: StepSessionOptions) {
    this.#options = options;
    this.#sink = {
      onResult: (result) => this.#send({ result: toStepResult(result, options.runner.rank) }),
      onFailure: (error) => this.#fail(error),
      silentMs: () => this.#watch?.silentMs ?? 0,
    };
  }

  onMessage({ open, plan }: ExecuteRequest__Output): void {
    if (this.#isOver) return;
    this.#watch?.heard();
    try {
      if (this.#watch === null) void this.#open(parseFence(open ?? null));
      else if (plan) this.#submit(toNativeStepPlan(plan));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The coordinator has closed its end, or cannot be reached any more. */
  onClosed(): void {
    this.#finish(() => this.#options.port.end(null));
  }

  async #open(fence: ReturnType<typeof parseFence>): Promise<void> {
    const { runner, clock, onHeld, silenceMs = COORDINATOR_SILENCE_MS } = this.#options;
    this.#watch = new SilenceWatch({
      clock,
      limitMs: silenceMs,
      intervalMs: SIGN_OF_LIFE_INTERVAL_MS,
      onTick: () => this.#showLife(),
      onSilence: () =>
        this.#fail(new AppError('WORKER_LOST', `the coordinator was silent for ${silenceMs} ms`)),
    });
    try {
      await runner.open(fence, this.#sink);
      if (this.#isOver) return;
      this.#isHeld = true;
      onHeld();
      this.#send({ opened: {} });
    } catch (error) {
      this.#fail(error);
    }
  }

  #submit(plan: NativeStepPlan): void {
    this.#options.runner.submit(this.#sink, plan);
  }

  #showLife(): void {
    const wasSilent = !this.#hasSpoken;
    this.#hasSpoken = false;
    if (!wasSilent) return;
    this.#send({ progress: toStepProgress(this.#options.runner.progress) });
    this.#hasSpoken = false;
  }

  #send(message: ExecuteResponse): void {
    if (this.#isOver) return;
    this.#hasSpoken = true;
    this.#options.port.send(message);
  }

  #fail(cause: unknown): void {
    const error = toAppError(cause);
    this.#finish(() => {
      // Neither the worker's own end nor that of the epoch is a fault of this stream.
      const level = error.code === 'WORKER_LOST' || error.code === 'ABORTED' ? 'info' : 'warn';
      this.#options.logger[level]({ code: error.code, err: error }, 'the step stream fails');
      this.#options.port.end(error);
    });
  }

  #finish(tell: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch?.stop();
    tell();
    this.#options.runner.closeStream(this.#sink);
    if (this.#isHeld) this.#options.onReleased();
  }
}
