// A request as a stream that is read, or as its whole answer: what gateways and commands use over Engine.submit.
import { AppError, toAppError } from '../../common/errors.js';
import {
  bytesOfDelta,
  emptyDelta,
  isLargeDelta,
  mergeDeltas,
  type GenerationDelta,
  type GenerationEnd,
  type RequestSink,
} from '../requests/generation.js';
import type { RequestSpec } from '../requests/request-spec.js';
import { RequestStream } from '../requests/request-stream.js';
import type { Engine, RequestHandle } from './engine.js';

export interface Generation {
  readonly requestId: string;
  /** Null until the first delta. */
  readonly promptTokenIds: Uint32Array | null;
  /** Rejects with why the request failed. A reader that leaves it ends the request. */
  readonly deltas: RequestStream<GenerationDelta>;
}

/** An answer that has come to its end. */
export interface WholeGeneration extends GenerationDelta {
  readonly requestId: string;
  readonly promptTokenIds: Uint32Array;
  readonly end: GenerationEnd;
}

/** An abort of the signal ends the request; its reason, an AppError, is what the reader gets. */
export function generate(engine: Pick<Engine, 'submit'>, spec: RequestSpec, signal: AbortSignal): Generation {
  const reader = new Reader(spec.requestId);
  let isOver = false;
  const onAbort = (): void => handle.cancel(toAppError(signal.reason));
  const onOver = (): void => {
    isOver = true;
    signal.removeEventListener('abort', onAbort);
  };
  const handle = engine.submit(spec, reader.sink(onOver));
  reader.reads(handle);
  if (signal.aborted) onAbort();
  // A request that is refused is over by now.
  else if (!isOver) signal.addEventListener('abort', onAbort, { once: true });
  return reader;
}

/** The same for who needs nothing before the end: nobody is woken for each token. Rejects with why it failed. */
export function generateWhole(
  engine: Pick<Engine, 'submit'>,
  spec: RequestSpec,
  signal: AbortSignal,
): Promise<WholeGeneration> {
  return new Promise((resolve, reject) => {
    const { requestId } = spec;
    const total = emptyDelta();
    let promptTokenIds: Uint32Array = new Uint32Array();
    let isOver = false;
    const onAbort = (): void => handle.cancel(toAppError(signal.reason));
    const onOver = (): void => {
      isOver = true;
      signal.removeEventListener('abort', onAbort);
    };
    const handle = engine.submit(spec, {
      onPrompt: (tokenIds) => {
        promptTokenIds = tokenIds;
      },
      onDelta: (delta) => {
        const { end } = mergeDeltas(total, delta);
        if (end === null) return;
        onOver();
        resolve({ ...total, requestId, promptTokenIds, end });
      },
      onFailure: (error) => {
        onOver();
        reject(error);
      },
    });
    if (signal.aborted) onAbort();
    // A request that is refused is over by now.
    else if (!isOver) signal.addEventListener('abort', onAbort, { once: true });
  });
}

class Reader implements Generation {
  readonly requestId: string;
  promptTokenIds: Uint32Array | null = null;
  #handle: RequestHandle | null = null;
  readonly deltas = new RequestStream<GenerationDelta>({
    merge: mergeDeltas,
    isFull: isLargeDelta,
    bytesOf: bytesOfDelta,
    onBehind: (isBehind) => this.#handle?.setPaused(isBehind),
    onCancel: () => this.#handle?.cancel(new AppError('CANCELLED', 'the reader left')),
  });

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  /** Who joins an answer may be behind by now. */
  reads(handle: RequestHandle): void {
    this.#handle = handle;
    if (this.deltas.isBehind) handle.setPaused(true);
  }

  sink(onOver: () => void): RequestSink {
    return {
      onPrompt: (promptTokenIds) => {
        this.promptTokenIds = promptTokenIds;
      },
      onDelta: (delta) => {
        this.deltas.push(delta);
        if (delta.end === null) return;
        this.deltas.end();
        onOver();
      },
      onFailure: (error) => {
        this.deltas.fail(error);
        onOver();
      },
    };
  }
}
