// How late the generator itself is: a client that does not come to its work on time sends late and reads late, and what
// it then measures is itself.
import { monitorEventLoopDelay, performance, type EventLoopUtilization } from 'node:perf_hooks';
import { rounded } from './statistics.js';

/** How often the event loop is looked at. */
const RESOLUTION_MS = 5;

export interface LoopReport {
  /** How much later than due the event loop came to a timer, at the 99th percentile and at most. */
  readonly delayMs: { readonly p99: number; readonly max: number };
  /** Share of the time in which the event loop worked. */
  readonly busyShare: number;
  /** Processor time of the whole process over the time of the run: 1 is a core. */
  readonly cores: number;
}

export class LagMeter {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #utilization: EventLoopUtilization = performance.eventLoopUtilization();
  readonly #cpu = process.cpuUsage();
  readonly #startMs = performance.now();

  constructor() {
    this.#histogram.enable();
  }

  stop(): LoopReport {
    this.#histogram.disable();
    // What is recorded is the time from one look to the next, the wait between them included.
    const late = (nanoseconds: number): number =>
      Number.isFinite(nanoseconds) ? rounded(Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS)) : 0;
    const { user, system } = process.cpuUsage(this.#cpu);
    const wallMs = performance.now() - this.#startMs;
    return {
      delayMs: { p99: late(this.#histogram.percentile(99)), max: late(this.#histogram.max) },
      busyShare: rounded(performance.eventLoopUtilization(this.#utilization).utilization),
      cores: rounded((user + system) / 1000 / wallMs),
    };
  }
}
