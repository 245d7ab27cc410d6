// One line a request at its end: who asked for how much, what it got, how long each part took. Never a prompt, a token,
// a picture or a credential.
import { AppError } from '../../common/errors.js';
import { MAX_REQUEST_ID_CHARS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import type { RefusedCall, RequestEvent, RequestListener } from '../requests/request-store.js';
import type { RequestOrigin } from '../requests/request-spec.js';
import type { Request, RequestEnd } from '../requests/request.js';

export class AccessLog implements RequestListener {
  readonly #logger: Logger;
  readonly #modelName: string;

  constructor(logger: Logger, modelName: string) {
    this.#logger = logger;
    this.#modelName = modelName;
  }

  onStage({ request, stage, end }: RequestEvent): void {
    // What nobody reads is not put together.
    if (stage !== 'ended' || !this.#logger.isLevelEnabled('info')) return;
    const line = { ...this.#head(request.spec), ...outcome(request, end!), ...timesOf(request) };
    this.#logger.info(line, 'request');
  }

  onRefused(call: RefusedCall): void {
    this.#logger.info({ ...this.#head(call), code: call.error.code }, 'request');
  }

  #head({ requestId, origin }: { readonly requestId: string; readonly origin?: RequestOrigin }): object {
    return {
      component: 'access',
      // An id that was refused may be long.
      requestId: requestId.slice(0, MAX_REQUEST_ID_CHARS),
      route: origin?.route ?? 'internal',
      apiKeyHash: origin?.apiKeyHash ?? null,
      traceId: origin?.traceparent?.split('-')[1] ?? null,
      model: this.#modelName,
    };
  }
}

function outcome(request: Request, end: RequestEnd): object {
  const hasFailed = end instanceof AppError;
  return {
    code: hasFailed ? end.code : 'OK',
    finishReason: hasFailed ? null : end.finishReason,
    choice: request.spec.choiceIndex ?? 0,
    priority: request.spec.priority ?? 0,
    promptTokens: request.numPromptTokens,
    cachedTokens: request.numCachedTokens,
    completionTokens: request.producedIds.length,
    interruptions: request.numInterruptions,
    pauses: request.pause.numPauses,
  };
}

/** Milliseconds from its arrival; null: it did not come so far. */
function timesOf(request: Request): object {
  const receivedMs = request.timeOf('received')!;
  const since = (atMs: number | null): number | null =>
    atMs === null ? null : Math.round((atMs - receivedMs) * 1000) / 1000;
  return {
    encodedMs: since(request.timeOf('encoded')),
    startedMs: since(request.timeOf('running')),
    firstTokenMs: since(request.timeOf('first-token')),
    totalMs: since(request.timeOf('ended')),
  };
}
