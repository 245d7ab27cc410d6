// The flags of the HTTP service, and how it is started beside the gRPC one.
import type { Command } from 'commander';
import { listOption } from '../../common/command-line.js';
import { AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import type { Logger } from '../../common/logger.js';
import type { GrpcGateway } from '../gateway/grpc-gateway.js';
import { HttpGateway } from '../gateway/http/http-gateway.js';
import { MediaAddresses } from '../gateway/http/media-addresses.js';
import { MediaFetcher } from '../gateway/http/media-fetcher.js';
import type { MetricsSource } from '../gateway/http/metrics-route.js';
import { readPageFiles, type PageFile } from '../gateway/http/page-files.js';
import type { Serving } from '../serving/serving.js';

export interface HttpFlags {
  readonly httpAddress?: string;
  readonly allowedMediaHosts?: readonly string[];
  readonly page: boolean;
}

export interface HttpOptions {
  readonly address: string;
  /** Null: http(s) URLs of pictures are refused. */
  readonly media: MediaFetcher | null;
  /** Null: there is none. */
  readonly page: ReadonlyMap<string, PageFile> | null;
}

export function addHttpOptions(command: Command): Command {
  return command
    .option('--http-address <address>', "HOST:PORT or unix:PATH for OpenAI's API (default: no HTTP)")
    .option(
      '--allowed-media-hosts <hosts>',
      'over HTTP, fetch pictures from http(s) URLs of these hosts: host, *.host, host:port, address or range ' +
        '(default: none)',
      listOption,
    )
    .option('--no-page', 'over HTTP, no page at / and no /cluster: the API alone');
}

/** Null: no HTTP. Throws INVALID_REQUEST, and SETUP_INCOMPLETE where the page has not been built. */
export function toHttpOptions({ httpAddress, allowedMediaHosts, page }: HttpFlags): HttpOptions | null {
  if (httpAddress === undefined) {
    if (allowedMediaHosts === undefined) return null;
    throw new AppError('INVALID_REQUEST', '--allowed-media-hosts goes with --http-address', {
      details: { param: '--allowed-media-hosts' },
    });
  }
  const hosts = allowedMediaHosts ?? [];
  return {
    address: checkAddress(httpAddress, '--http-address'),
    media: hosts.length === 0 ? null : new MediaFetcher({ addresses: new MediaAddresses(hosts) }),
    page: page ? readPageFiles() : null,
  };
}

/** Beside the gRPC gateway, whose budget of bytes and idempotency keys it shares. */
export async function startHttp(
  serving: Serving,
  options: HttpOptions,
  { budget, idempotentRequests }: GrpcGateway,
  metrics: MetricsSource | null,
  logger: Logger,
): Promise<HttpGateway> {
  const { engine, text } = serving;
  const shared = { engine, text, budget, idempotentRequests, metrics, logger };
  const http = await HttpGateway.start({
    ...options,
    ...shared,
    model: () => serving.model,
    clusterReport: (afterS) => serving.clusterReport(afterS),
  });
  logger.info({ address: http.address }, 'listening for HTTP');
  return http;
}
