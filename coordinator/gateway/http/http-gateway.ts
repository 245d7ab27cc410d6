// The public HTTP server, in the form of OpenAI's API, over the same engine as the gRPC service. Parses, submits,
// writes no faster than the client reads. It is up before there is a group.
import type { FastifyRequest } from 'fastify';
import { systemClock } from '../../../common/clock.js';
import { toAppError } from '../../../common/errors.js';
import { STALLED_READER_MS } from '../../../common/limits.js';
import type { Logger } from '../../../common/logger.js';
import { ReaderWatch } from '../../../common/reader-watch.js';
import type { ReceiveBudget } from '../../../common/receive-budget.js';
import type { Engine } from '../../engine/engine.js';
import type { IdempotentRequests } from '../../engine/idempotent-requests.js';
import type { ModelFacts } from '../inference-messages.js';
import type { TokenText } from './answer-form.js';
import { addClusterRoute, type ReportCluster } from './cluster-route.js';
import { addGenerationRoutes, isGeneration, originOf } from './generation-routes.js';
import { addInformationRoutes } from './information-routes.js';
import { toHttpError } from './http-errors.js';
import { listenOn, stopListening } from './http-listen.js';
import type { MediaFetcher } from './media-fetcher.js';
import { createHttpServer, findCall, type HttpServer } from './http-server.js';
import { addMetricsRoute, type MetricsSource } from './metrics-route.js';
import type { PageFile } from './page-files.js';
import { addPageRoutes } from './page-routes.js';

export interface HttpGatewayOptions {
  /** HOST:PORT or unix:PATH. */
  readonly address: string;
  readonly engine: Engine;
  readonly text: TokenText;
  readonly model: () => ModelFacts;
  /** Null: http(s) URLs of pictures are refused. */
  readonly media: MediaFetcher | null;
  readonly clusterReport: ReportCluster;
  /** Null: there is no page, nor what it asks. */
  readonly page: ReadonlyMap<string, PageFile> | null;
  /** Calls with a key, whichever gateway they came by. */
  readonly idempotentRequests: IdempotentRequests;
  /** Of all requests that are in the server, whichever way they came. */
  readonly budget: ReceiveBudget;
  /** Null: there is no /metrics. */
  readonly metrics: MetricsSource | null;
  /** Who takes nothing of an answer for so long is cut off; default: STALLED_READER_MS. */
  readonly stalledReaderMs?: number;
  readonly logger: Logger;
}

export class HttpGateway {
  readonly #options: HttpGatewayOptions;
  readonly #server: HttpServer;
  #address = '';

  private constructor(options: HttpGatewayOptions) {
    this.#options = options;
    const onFailure = (error: unknown): void => this.#logFailure(error);
    this.#server = createHttpServer({
      budget: options.budget,
      onFailure: (error, request) => {
        onFailure(error);
        this.#refused(error, request);
      },
    });
    const readers = new ReaderWatch(systemClock, options.stalledReaderMs ?? STALLED_READER_MS);
    this.#server.server.on('connection', (socket) => readers.add(socket, () => socket.destroy()));
    addGenerationRoutes(this.#server, { ...options, onFailure });
    addInformationRoutes(this.#server, options);
    if (options.metrics !== null) addMetricsRoute(this.#server, options.metrics);
    if (options.page !== null) {
      addPageRoutes(this.#server, options.page);
      addClusterRoute(this.#server, options.clusterReport);
    }
  }

  static async start(options: HttpGatewayOptions): Promise<HttpGateway> {
    const gateway = new HttpGateway(options);
    gateway.#address = await listenOn(gateway.#server, options.address);
    return gateway;
  }

  /** As clients write it: http://HOST:PORT, or unix:PATH. */
  get address(): string {
    return this.#address;
  }

  /** Lets running calls end for `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void> {
    return stopListening(this.#server, graceMs);
  }

  /** A call that did not become a request: its listeners would not hear of it otherwise. */
  #refused(error: unknown, request: FastifyRequest): void {
    const call = findCall(request);
    if (call === null || call.isSubmitted || !isGeneration(request)) return;
    this.#options.engine.requests.refused({
      requestId: request.id,
      origin: originOf(request),
      error: toAppError(error),
    });
  }

  #logFailure(error: unknown): void {
    if (toHttpError(error).status === 500) this.#options.logger.error({ err: error }, 'a request failed');
    else this.#options.logger.debug({ code: toAppError(error).code }, 'a request ended with an error');
  }
}
