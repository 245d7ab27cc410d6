// The lives of requests -> metrics. What comes with every token is counted in plain numbers and handed over when asked.
import { AppError, ERROR_CATALOGUE } from '../../common/errors.js';
import type { Stage } from '../requests/life-cycle.js';
import type { RefusedCall, RequestEvent, RequestListener } from '../requests/request-store.js';
import type { Request, RequestEnd } from '../requests/request.js';
import type { Metrics } from './metrics.js';

const REFUSAL_REASONS = ['requests', 'tokens', 'memory', 'deadline'] as const;
const FINISH_REASONS = ['stop', 'length'] as const;

export class RequestMetrics implements RequestListener {
  readonly #metrics: Metrics;
  /** Since they were last handed over. */
  #numTokens = 0;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    // What has not happened yet is 0, not absent: rates are right from the first time on.
    for (const finished_reason of FINISH_REASONS) metrics.requestSuccess.inc({ finished_reason }, 0);
    for (const reason of REFUSAL_REASONS) metrics.requestsRefused.inc({ reason }, 0);
    for (const code of Object.keys(ERROR_CATALOGUE)) metrics.requestFailure.inc({ code }, 0);
  }

  onStage({ request, stage, end }: RequestEvent): void {
    const metrics = this.#metrics;
    switch (stage) {
      case 'received':
        metrics.requestsReceived.inc({ route: request.spec.origin?.route ?? 'internal' });
        break;
      case 'encoded':
        metrics.encodingTime.observe(between(request, 'received', 'encoded'));
        break;
      case 'running':
        metrics.queueTime.observe(between(request, 'encoded', 'running'));
        break;
      case 'first-token':
        metrics.timeToFirstToken.observe(between(request, 'received', 'first-token'));
        metrics.prefillTime.observe(between(request, 'running', 'first-token'));
        metrics.promptTokens.inc(request.numPromptTokens);
        metrics.cachedPromptTokens.inc(request.numCachedTokens);
        break;
      case 'interrupted':
        metrics.requestsInterrupted.inc();
        break;
      case 'paused':
        metrics.requestPauses.inc();
        break;
      case 'ended':
        this.#ended(request, end!);
        break;
      default:
    }
  }

  onTokens(numTokens: number, sinceMs: number | null): void {
    this.#numTokens += numTokens;
    if (sinceMs !== null) this.#metrics.interTokenLatency.observe(sinceMs / 1000);
  }

  onRefused({ error }: RefusedCall): void {
    this.#fail(error);
  }

  collect(): void {
    this.#metrics.generationTokens.inc(this.#numTokens);
    this.#numTokens = 0;
  }

  #ended(request: Request, end: RequestEnd): void {
    if (end instanceof AppError) {
      this.#fail(end);
      return;
    }
    const metrics = this.#metrics;
    const { promptTokens, completionTokens, pictureTiles } = end.usage;
    metrics.requestSuccess.inc({ finished_reason: end.finishReason });
    metrics.requestPromptTokens.observe(promptTokens);
    metrics.requestGenerationTokens.observe(completionTokens);
    metrics.pictureTiles.inc(pictureTiles);
    metrics.endToEndLatency.observe(between(request, 'received', 'ended'));
    metrics.inferenceTime.observe(between(request, 'running', 'ended'));
    metrics.decodeTime.observe(between(request, 'first-token', 'ended'));
    if (completionTokens > 1) metrics.timePerOutputToken.observe(end.timings.tpotMs / 1000);
  }

  #fail(error: AppError): void {
    const { code } = error;
    this.#metrics.requestFailure.inc({ code });
    const reason = refusalReason(error);
    if (reason !== null) this.#metrics.requestsRefused.inc({ reason });
  }
}

/** Null: it was no refusal for want of room. */
function refusalReason({ code, details }: AppError): (typeof REFUSAL_REASONS)[number] | null {
  if (code === 'DEADLINE_UNREACHABLE') return 'deadline';
  if (code !== 'QUEUE_FULL') return null;
  return REFUSAL_REASONS.find((reason) => reason === details['bound']) ?? 'memory';
}

/** In seconds; of stages that a request which is answered has come to. */
function between(request: Request, from: Stage, to: Stage): number {
  return ((request.timeOf(to) ?? 0) - (request.timeOf(from) ?? 0)) / 1000;
}
