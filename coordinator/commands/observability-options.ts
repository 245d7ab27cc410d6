// The flags of what watches the service from outside, and how it is started.
import type { Command } from 'commander';
import { systemClock } from '../../common/clock.js';
import { AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import type { Logger } from '../../common/logger.js';
import type { ReceiveBudget } from '../../common/receive-budget.js';
import type { Environment } from '../../common/settings.js';
import { MetricsServer } from '../gateway/http/metrics-server.js';
import { AccessLog } from '../observability/access-log.js';
import { ServiceMetrics } from '../observability/service-metrics.js';
import type { TraceExport } from '../observability/trace-export.js';
import type { Serving } from '../serving/serving.js';

export interface ObservabilityFlags {
  readonly metricsAddress?: string;
  readonly accessLog?: boolean;
  readonly otlpEndpoint?: string;
}

/** Where /metrics is; null: nowhere, and nothing is counted. */
export type MetricsPlace = { readonly address: string } | 'http' | null;

export interface ObservabilityOptions {
  readonly metrics: MetricsPlace;
  readonly hasAccessLog: boolean;
  /** Null: no traces. The URL of the receiver's traces, or null for what OpenTelemetry's own variables say. */
  readonly traces: { readonly url: string | null } | null;
}

export function addObservabilityOptions(command: Command): Command {
  return command
    .option(
      '--metrics-address <address>',
      'HOST:PORT or unix:PATH for /metrics and /ready, apart from what clients see (default: on --http-address)',
    )
    .option('--no-access-log', 'no line in the log for each request at its end')
    .option(
      '--otlp-endpoint <url>',
      'send traces there, by OTLP over HTTP (default: OTEL_EXPORTER_OTLP_ENDPOINT, else none)',
    );
}

/** Throws INVALID_REQUEST. */
export function toObservabilityOptions(
  { metricsAddress, accessLog, otlpEndpoint }: ObservabilityFlags,
  hasHttp: boolean,
  environment: Environment = process.env,
): ObservabilityOptions {
  return {
    metrics:
      metricsAddress !== undefined
        ? { address: checkAddress(metricsAddress, '--metrics-address') }
        : hasHttp
          ? 'http'
          : null,
    hasAccessLog: accessLog ?? true,
    traces: tracesOf(otlpEndpoint, environment),
  };
}

function tracesOf(endpoint: string | undefined, environment: Environment): ObservabilityOptions['traces'] {
  if (endpoint !== undefined) return { url: tracesUrl(endpoint) };
  const isOff =
    environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' ||
    environment['OTEL_TRACES_EXPORTER'] === 'none';
  const names = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  return !isOff && names.some((name) => (environment[name] ?? '') !== '') ? { url: null } : null;
}

/** As OTLP has it: traces are below the endpoint. */
function tracesUrl(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new AppError('INVALID_REQUEST', `--otlp-endpoint must be an http(s) URL, got "${endpoint}"`, {
      details: { param: '--otlp-endpoint' },
    });
  }
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

/** What watches a service, for as long as it runs. */
export class Observability {
  readonly #serving: Serving;
  readonly #options: ObservabilityOptions;
  readonly #logger: Logger;
  readonly #metrics: ServiceMetrics | null;
  #server: MetricsServer | null = null;
  #traces: TraceExport | null = null;
  readonly #stops: (() => void)[] = [];

  constructor(serving: Serving, options: ObservabilityOptions, budget: ReceiveBudget, logger: Logger) {
    this.#serving = serving;
    this.#options = options;
    this.#logger = logger;
    const { engine, model } = serving;
    this.#metrics =
      options.metrics === null
        ? null
        : new ServiceMetrics({
            engine,
            modelName: model.name,
            memory: () => ({ requestBytes: budget.usedBytes, pictureBytes: serving.pictureBytes }),
            clock: systemClock,
          });
    if (options.hasAccessLog) this.#stops.push(engine.requests.observe(new AccessLog(logger, model.name)));
  }

  /** For the HTTP address; null where they are elsewhere, or nowhere. */
  get publicMetrics(): ServiceMetrics | null {
    return this.#options.metrics === 'http' ? this.#metrics : null;
  }

  /** Throws INVALID_REQUEST where an address cannot be had. */
  async start(): Promise<void> {
    const { metrics: place, traces } = this.#options;
    const [metrics, logger, { engine, model }] = [this.#metrics, this.#logger, this.#serving];
    if (traces !== null) {
      // Who wants none need not wait for it to be loaded.
      const { startTraceExport } = await import('../observability/trace-export.js');
      const { Tracing } = await import('../observability/tracing.js');
      this.#traces = startTraceExport(traces.url, logger);
      const sinceEpochMs = Date.now() - systemClock.nowMs();
      const toEpochMs = (atMs: number): number => sinceEpochMs + atMs;
      const tracing = new Tracing({ tracer: this.#traces.tracer, modelName: model.name, toEpochMs });
      this.#stops.push(engine.observe(tracing));
    }
    if (metrics === null || place === null || place === 'http') return;
    this.#server = await MetricsServer.start({ address: place.address, engine, metrics, logger });
    logger.info({ address: this.#server.address }, 'listening for metrics');
  }

  async stop(graceMs: number): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#metrics?.stop();
    await Promise.all([this.#server?.stop(graceMs), this.#traces?.stop()]);
  }
}
