// The metrics of one service, kept by listening to it, as Prometheus reads them.
import { collectDefaultMetrics } from 'prom-client';
import type { Clock } from '../../common/clock.js';
import { VERSION } from '../../common/version.js';
import type { Engine, EngineState } from '../engine/engine.js';
import { STAGES } from '../requests/life-cycle.js';
import { EventLoopWatch } from './event-loop-watch.js';
import { GroupMetrics } from './group-metrics.js';
import { Metrics } from './metrics.js';
import { RequestMetrics } from './request-metrics.js';

const STATES: readonly EngineState[] = ['forming', 'ready', 'recovering', 'failed', 'draining'];

export interface ServiceMetricsOptions {
  readonly engine: Engine;
  readonly modelName: string;
  /** Bytes of requests in the server, and of decoded pictures. */
  readonly memory: () => { readonly requestBytes: number; readonly pictureBytes: number };
  readonly clock: Clock;
}

export class ServiceMetrics {
  readonly #options: ServiceMetricsOptions;
  readonly #metrics: Metrics;
  readonly #requests: RequestMetrics;
  readonly #group: GroupMetrics;
  readonly #stops: (() => void)[];

  constructor(options: ServiceMetricsOptions) {
    const { engine, clock } = options;
    this.#options = options;
    const metrics = (this.#metrics = new Metrics(options.modelName));
    this.#requests = new RequestMetrics(metrics);
    this.#group = new GroupMetrics(metrics);
    const watch = new EventLoopWatch(clock, (delayMs) => metrics.eventLoopDelay.observe(delayMs / 1000));
    this.#stops = [
      engine.requests.observe(this.#requests),
      engine.observe(this.#group),
      engine.onReadyChange((isReady) => metrics.ready.set(isReady ? 1 : 0)),
      () => watch.stop(),
    ];
    metrics.buildInfo.set({ version: VERSION }, 1);
    collectDefaultMetrics({ register: metrics.registry });
  }

  get contentType(): string {
    return this.#metrics.registry.contentType;
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    const metrics = this.#metrics;
    const { engine, memory } = this.#options;
    this.#requests.collect();
    this.#group.collect();
    for (const state of STATES) metrics.state.set({ state }, state === engine.state ? 1 : 0);
    const byStage = engine.requests.numByStage();
    for (const stage of STAGES) if (stage !== 'ended') metrics.requests.set({ stage }, byStage[stage]);
    const numRunning = Math.min(this.#group.numRunning, engine.requests.size);
    metrics.requestsRunning.set(numRunning);
    const { size, numPaused } = engine.requests;
    metrics.requestsPaused.set(numPaused);
    // One that is paused may still be in a step.
    metrics.requestsWaiting.set(Math.max(size - numRunning - numPaused, 0));
    metrics.estimatedWait.set((engine.waits.waitMs({}) ?? 0) / 1000);
    const { requestBytes, pictureBytes } = memory();
    metrics.requestMemory.set(requestBytes);
    metrics.pictureMemory.set(pictureBytes);
    return metrics.registry.metrics();
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}
