// The step stream of one worker: it holds the worker for an epoch, carries plans there and results back, and shows
// while the group forms that the worker lives. It ends once, and says why.
import { assert, assertDefined } from '../../common/assert.js';
import type { Clock, Timer } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { FORMING_HANG_FACTOR, STEPS_OPEN_TIMEOUT_MS } from '../../common/limits.js';
import { SilenceWatch } from '../../common/silence-watch.js';
import type { ExecuteResponse__Output } from '../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { Fence } from '../../proto/ts/skein/worker/v1/Fence.js';
import type { StepProgress__Output } from '../../proto/ts/skein/worker/v1/StepProgress.js';
import type { StepResult__Output } from '../../proto/ts/skein/worker/v1/StepResult.js';
import { blameCoordinator, type RankErrors } from './rank-errors.js';
import type { RankTransport, StepStream } from './rank-transport.js';
import { encodeOpen, encodeSignOfLife } from './step-messages.js';

export const WATCH_INTERVAL_MS = 250;

export interface RankStepListener {
  onResult(result: StepResult__Output): void;
  /** It shows that it is there, and how far it is. */
  onProgress(progress: StepProgress__Output): void;
  /** The stream is over, for whatever reason; called once. */
  onFailure(error: AppError): void;
}

export interface RankStepsOptions {
  readonly transport: RankTransport;
  readonly clock: Clock;
  /** A worker that is silent for so long hangs; while the group forms, for longer. */
  readonly hangTimeoutMs: number;
  readonly errors: RankErrors;
  /** The worker has spoken. */
  readonly onSignOfLife: () => void;
}

export class RankSteps {
  /** Resolves with why the stream ended, unless this end closed it. */
  readonly lost: Promise<AppError>;
  readonly #options: RankStepsOptions;
  #reportLost!: (error: AppError) => void;
  #stream: StepStream | null = null;
  #watch: SilenceWatch | null = null;
  /** While it is not open. */
  #giveUpOpening: (error: AppError) => void = () => undefined;
  #listener: RankStepListener | null = null;
  #failure: AppError | null = null;

  constructor(options: RankStepsOptions) {
    this.#options = options;
    this.lost = new Promise((resolve) => {
      this.#reportLost = resolve;
    });
  }

  /** Takes the worker for the fence's epoch, for as long as the stream is open. */
  open(fence: Fence): Promise<void> {
    assert(this.#stream === null, 'a client opens one stream');
    return new Promise((resolve, reject) => {
      const timer = this.#watchOpening();
      this.#giveUpOpening = (error) => {
        timer.cancel();
        reject(error);
      };
      void this.lost.then(this.#giveUpOpening);
      this.#stream = this.#options.transport.openSteps({
        onMessage: (message) => {
          if (message.opened && this.#failure === null) {
            timer.cancel();
            this.#watch = this.#watchSilence();
            resolve();
          }
          this.#onMessage(message);
        },
        onEnd: (error) => {
          const { errors } = this.#options;
          this.#fail(error === null ? errors.lost('its step stream ended') : errors.from(error));
        },
      });
      this.#stream.send(encodeOpen(fence));
    });
  }

  #watchOpening(): Timer {
    const { clock, errors } = this.#options;
    return clock.setTimer(STEPS_OPEN_TIMEOUT_MS, () =>
      this.#fail(errors.hung(`it has not let go of the epoch before for ${STEPS_OPEN_TIMEOUT_MS} ms`)),
    );
  }

  #watchSilence(): SilenceWatch {
    const { clock, hangTimeoutMs, errors } = this.#options;
    const limitMs = FORMING_HANG_FACTOR * hangTimeoutMs;
    return new SilenceWatch({
      clock,
      limitMs,
      intervalMs: WATCH_INTERVAL_MS,
      onSilence: () => this.#fail(errors.hung(`not heard for ${limitMs} ms while the group forms`)),
    });
  }

  #onMessage({ result, progress }: ExecuteResponse__Output): void {
    if (this.#failure !== null) return;
    this.#watch?.heard();
    this.#options.onSignOfLife();
    if (progress) this.#stream?.send(encodeSignOfLife());
    if (progress) this.#listener?.onProgress(progress);
    if (result) this.#listener?.onResult(result);
  }

  #fail(error: AppError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#watch?.stop();
    this.#stream?.close();
    this.#reportLost(error);
    this.#listener?.onFailure(blameCoordinator(error));
  }

  /** Who is told of the steps from now on, and watches the worker; of the stream's end at once, where it is over. */
  listen(listener: RankStepListener): void {
    this.#listener = listener;
    this.#watch?.stop();
    if (this.#failure !== null) listener.onFailure(this.#failure);
  }

  /** An encoded ExecuteRequest with a plan. */
  sendPlan(bytes: Buffer): void {
    assertDefined(this.#stream, 'the step stream').send(bytes);
  }

  /** Lets go of the worker. */
  close(): void {
    this.#failure ??= new AppError('CANCELLED', 'the step stream is closed');
    this.#giveUpOpening(this.#failure);
    this.#watch?.stop();
    this.#stream?.close();
  }
}
