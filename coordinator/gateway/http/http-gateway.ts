// The public HTTP server, in the form of OpenAI's API, over the same engine as the gRPC service. Parses, submits,
// writes no faster than the client reads. It is up before there is a group.
import type { AddressInfo } from 'node:net';
import { AppError, toAppError } from '../../../common/errors.js';
import type { Logger } from '../../../common/logger.js';
import type { ReceiveBudget } from '../../../common/receive-budget.js';
import { clearSocketPath } from '../../../common/socket-path.js';
import type { Engine } from '../../engine/engine.js';
import type { IdempotentRequests } from '../../engine/idempotent-requests.js';
import type { ModelFacts } from '../inference-messages.js';
import type { TokenText } from './answer-form.js';
import { addGenerationRoutes } from './generation-routes.js';
import { addInformationRoutes } from './information-routes.js';
import { toHttpError } from './http-errors.js';
import type { MediaFetcher } from './media-fetcher.js';
import { createHttpServer, type HttpServer } from './http-server.js';

const UNIX_PREFIX = 'unix:';

export interface HttpGatewayOptions {
  /** HOST:PORT or unix:PATH. */
  readonly address: string;
  readonly engine: Engine;
  readonly text: TokenText;
  readonly model: () => ModelFacts;
  /** Null: http(s) URLs of pictures are refused. */
  readonly media: MediaFetcher | null;
  /** Calls with a key, whichever gateway they came by. */
  readonly idempotentRequests: IdempotentRequests;
  /** Of all requests that are in the server, whichever way they came. */
  readonly budget: ReceiveBudget;
  readonly logger: Logger;
}

export class HttpGateway {
  readonly #options: HttpGatewayOptions;
  readonly #server: HttpServer;
  #address = '';

  private constructor(options: HttpGatewayOptions) {
    this.#options = options;
    const onFailure = (error: unknown): void => this.#logFailure(error);
    this.#server = createHttpServer({ budget: options.budget, onFailure });
    addGenerationRoutes(this.#server, { ...options, onFailure });
    addInformationRoutes(this.#server, options);
  }

  static async start(options: HttpGatewayOptions): Promise<HttpGateway> {
    const gateway = new HttpGateway(options);
    try {
      gateway.#address = await gateway.#listen();
    } catch (error) {
      if (error instanceof AppError) throw error;
      const reason = toAppError(error).message;
      throw new AppError('INVALID_REQUEST', `cannot listen on ${options.address}: ${reason}`, {
        cause: error,
      });
    }
    return gateway;
  }

  /** As clients write it: http://HOST:PORT, or unix:PATH. */
  get address(): string {
    return this.#address;
  }

  /** Lets running calls end for `graceMs`, then cuts them. */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.#server.server.closeAllConnections(), graceMs);
    await this.#server.close();
    clearTimeout(timer);
  }

  async #listen(): Promise<string> {
    const { address } = this.#options;
    if (address.startsWith(UNIX_PREFIX)) {
      const path = address.slice(UNIX_PREFIX.length);
      await clearSocketPath(path);
      await this.#server.listen({ path });
      return address;
    }
    const colon = address.lastIndexOf(':');
    const host = address.slice(0, colon);
    // An IPv6 address is written in brackets, and bound without them.
    await this.#server.listen({ host: host.replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) });
    return `http://${host}:${(this.#server.server.address() as AddressInfo).port}`;
  }

  #logFailure(error: unknown): void {
    if (toHttpError(error).status === 500) this.#options.logger.error({ err: error }, 'a request failed');
    else this.#options.logger.debug({ code: toAppError(error).code }, 'a request ended with an error');
  }
}
