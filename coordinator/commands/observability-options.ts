// The flags of what watches the service from outside, and how it is started.
import type { Command } from 'commander';
import { systemClock } from '../../common/clock.js';
import { checkAddress } from '../../common/grpc-server.js';
import type { Logger } from '../../common/logger.js';
import type { ReceiveBudget } from '../../common/receive-budget.js';
import type { Engine } from '../engine/engine.js';
import { MetricsServer } from '../gateway/http/metrics-server.js';
import { ServiceMetrics } from '../observability/service-metrics.js';
import type { Serving } from '../serving/serving.js';

export interface ObservabilityFlags {
  readonly metricsAddress?: string;
}

/** Where /metrics is; null: nowhere, and nothing is counted. */
export type MetricsPlace = { readonly address: string } | 'http' | null;

export interface ObservabilityOptions {
  readonly metrics: MetricsPlace;
}

export function addObservabilityOptions(command: Command): Command {
  return command.option(
    '--metrics-address <address>',
    'HOST:PORT or unix:PATH for /metrics and /ready, apart from what clients see (default: on --http-address)',
  );
}

/** Throws INVALID_REQUEST. */
export function toObservabilityOptions(
  { metricsAddress }: ObservabilityFlags,
  hasHttp: boolean,
): ObservabilityOptions {
  if (metricsAddress !== undefined)
    return { metrics: { address: checkAddress(metricsAddress, '--metrics-address') } };
  return { metrics: hasHttp ? 'http' : null };
}

/** What watches a service, for as long as it runs. */
export class Observability {
  readonly #engine: Engine;
  readonly #options: ObservabilityOptions;
  readonly #logger: Logger;
  readonly #metrics: ServiceMetrics | null;
  #server: MetricsServer | null = null;

  constructor(serving: Serving, options: ObservabilityOptions, budget: ReceiveBudget, logger: Logger) {
    this.#engine = serving.engine;
    this.#options = options;
    this.#logger = logger;
    this.#metrics =
      options.metrics === null
        ? null
        : new ServiceMetrics({
            engine: serving.engine,
            modelName: serving.model.name,
            memory: () => ({ requestBytes: budget.usedBytes, pictureBytes: serving.pictureBytes }),
            clock: systemClock,
          });
  }

  /** For the HTTP address; null where they are elsewhere, or nowhere. */
  get publicMetrics(): ServiceMetrics | null {
    return this.#options.metrics === 'http' ? this.#metrics : null;
  }

  /** Throws INVALID_REQUEST where an address cannot be had. */
  async start(): Promise<void> {
    const { metrics: place } = this.#options;
    const [engine, metrics, logger] = [this.#engine, this.#metrics, this.#logger];
    if (metrics === null || place === null || place === 'http') return;
    this.#server = await MetricsServer.start({ address: place.address, engine, metrics, logger });
    logger.info({ address: this.#server.address }, 'listening for metrics');
  }

  async stop(graceMs: number): Promise<void> {
    this.#metrics?.stop();
    await this.#server?.stop(graceMs);
  }
}
