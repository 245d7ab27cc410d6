// A server for whoever watches the service, apart from those of its clients: metrics and health, nothing else.
import { toAppError } from '../../../common/errors.js';
import { SMALL_MESSAGE_BYTES } from '../../../common/limits.js';
import type { Logger } from '../../../common/logger.js';
import { ReceiveBudget } from '../../../common/receive-budget.js';
import type { Engine } from '../../engine/engine.js';
import { listenOn, stopListening } from './http-listen.js';
import { createHttpServer, type HttpServer } from './http-server.js';
import { addHealthRoutes } from './information-routes.js';
import { addMetricsRoute, type MetricsSource } from './metrics-route.js';

export interface MetricsServerOptions {
  /** HOST:PORT or unix:PATH. */
  readonly address: string;
  readonly engine: Engine;
  readonly metrics: MetricsSource;
  readonly logger: Logger;
}

export class MetricsServer {
  readonly #server: HttpServer;
  /** As clients write it: http://HOST:PORT, or unix:PATH. */
  readonly address: string;

  private constructor(server: HttpServer, address: string) {
    this.#server = server;
    this.address = address;
  }

  static async start({ address, engine, metrics, logger }: MetricsServerOptions): Promise<MetricsServer> {
    const server = createHttpServer({
      // Nothing that has a body is served.
      budget: new ReceiveBudget(SMALL_MESSAGE_BYTES),
      onFailure: (error) => logger.debug({ code: toAppError(error).code }, 'a request ended with an error'),
    });
    addHealthRoutes(server, { engine });
    addMetricsRoute(server, metrics);
    return new MetricsServer(server, await listenOn(server, address));
  }

  stop(graceMs: number): Promise<void> {
    return stopListening(this.#server, graceMs);
  }
}
