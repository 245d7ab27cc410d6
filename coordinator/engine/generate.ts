// A request as a stream that is read: what gateways and commands use over Engine.submit.
import { AppError, toAppError } from '../../common/errors.js';
import { isLargeDelta, mergeDeltas, type GenerationDelta, type RequestSink } from '../requests/generation.js';
import type { RequestSpec } from '../requests/request-spec.js';
import { RequestStream } from '../requests/request-stream.js';
import type { Engine } from './engine.js';

export interface Generation {
  readonly requestId: string;
  /** Null until the first delta. */
  readonly promptTokenIds: Uint32Array | null;
  /** Rejects with why the request failed. A reader that leaves it ends the request. */
  readonly deltas: AsyncIterable<GenerationDelta>;
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
  reader.onLeave = () => handle.cancel(new AppError('CANCELLED', 'the reader left'));
  if (signal.aborted) onAbort();
  // A request that is refused is over by now.
  else if (!isOver) signal.addEventListener('abort', onAbort, { once: true });
  return reader;
}

class Reader implements Generation {
  readonly requestId: string;
  promptTokenIds: Uint32Array | null = null;
  onLeave: () => void = () => undefined;
  readonly deltas = new RequestStream<GenerationDelta>({
    merge: mergeDeltas,
    isFull: isLargeDelta,
    onCancel: () => this.onLeave(),
  });

  constructor(requestId: string) {
    this.requestId = requestId;
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
