// All that a gateway knows of the service: a request and where its answer goes, in; deltas and exactly one end, out.
// Leads a request from its arrival through the encoder into an epoch; it exists, and refuses clearly, before there is
// any group.
import { InvariantError } from '../../common/assert.js';
import type { Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import type { SamplingDefaults } from '../../common/sampling.js';
import type { Encoder } from '../encoding/encoder.js';
import type { RequestSink } from '../requests/generation.js';
import type { RequestSpec } from '../requests/request-spec.js';
import { RequestStore } from '../requests/request-store.js';
import type { Request } from '../requests/request.js';
import { resolveSampling } from '../requests/sampling-options.js';
import type { TextProcessor } from '../tokenizer/text-processor.js';
import type { Replica } from './replica.js';
import type { SupervisorState } from './supervisor.js';

/** As clients see it. */
export type EngineState = 'forming' | 'ready' | 'failed' | 'draining';

export interface EngineOptions {
  readonly replica: Replica;
  readonly encoder: Encoder;
  readonly text: Pick<TextProcessor, 'stopTokenIds' | 'createOutput'>;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
  readonly samplingDefaults: SamplingDefaults;
  readonly clock: Clock;
  /** Requests at once, those that are being encoded included. */
  readonly maxRequests: number;
  /** For requests that name no seed. */
  readonly drawSeed: () => bigint;
}

export interface RequestHandle {
  /** Ends it at the next step, unless it is over; the error is what its reader gets. */
  cancel(error: AppError): void;
}

const STATES: Readonly<Record<SupervisorState, EngineState>> = {
  idle: 'forming',
  forming: 'forming',
  serving: 'ready',
  failed: 'failed',
  'backing-off': 'failed',
  draining: 'draining',
  stopping: 'draining',
  ended: 'failed',
};

export class Engine {
  readonly requests: RequestStore;
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.requests = new RequestStore({ clock: options.clock, maxRequests: options.maxRequests });
  }

  get state(): EngineState {
    return STATES[this.#options.replica.state];
  }

  /** Called at once with the state as it is, then with every change. */
  onStateChange(listener: (state: EngineState) => void): void {
    listener(this.state);
    this.#options.replica.onStateChange((state) => listener(STATES[state]));
  }

  /** Never throws: a request that is refused has failed when this returns, or soon after. */
  submit(spec: RequestSpec, sink: RequestSink): RequestHandle {
    const request = this.requests.open(spec, sink);
    if (!request.isOver) void this.#accept(request);
    return { cancel: (error) => request.fail(error) };
  }

  /** Refuses new requests; resolves when those in the server have ended. */
  drain(): Promise<void> {
    const drained = this.requests.drain();
    this.#options.replica.drain();
    return drained;
  }

  /** Ends everything at once: what still runs fails with DRAINING. */
  async stop(): Promise<void> {
    void this.requests.drain();
    this.requests.failAll(new AppError('DRAINING', 'the coordinator is shutting down'));
    await this.#options.replica.stop();
  }

  async #accept(request: Request): Promise<void> {
    const { replica, encoder, text, vocabSize, samplingDefaults, drawSeed } = this.#options;
    try {
      replica.checkServing();
      const { spec } = request;
      const sampling = resolveSampling(spec.sampling, {
        vocabSize,
        eosTokenIds: text.stopTokenIds,
        defaults: samplingDefaults,
        drawSeed,
        choiceIndex: spec.choiceIndex ?? 0,
      });
      const encoded = await encoder.encode(spec.prompt, request, spec.priority ?? 0);
      request.whenOver(() => encoded.release());
      if (request.isOver) return;
      const { startsInReasoning, tokenIds, pictures } = encoded;
      const { stop, skipSpecialTokens } = sampling;
      const output = text.createOutput({ startsInReasoning, stop, skipSpecialTokens });
      request.encoded({ tokenIds, pictures, sampling, output });
      replica.submit({ ...request.toSequence(), pictures }, request);
      request.whenOver(() => replica.cancel(request.sequenceId));
      request.queued();
    } catch (error) {
      const failure = toAppError(error);
      request.fail(failure);
      if (error instanceof InvariantError) replica.fail(failure);
    }
  }
}
