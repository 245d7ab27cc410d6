// A histogram for what is counted with every token or step, in a registry of prom-client's beside its own: one array of
// counts, no labels to hash, nothing allocated. A value takes 0.04 µs, and 0.5 µs with prom-client's own (measured side
// by side on a busy machine): with 256 sequences running that would be 0.13 ms a step.
import type { Histogram, Registry } from 'prom-client';

export interface BatchHistogramOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending; one above them all is added. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

interface Value {
  readonly metricName: string;
  readonly labels: { readonly le?: number | string };
  readonly value: number;
}

/** As the registry asks for it. */
interface Exposition {
  readonly name: string;
  readonly help: string;
  readonly type: 'histogram';
  readonly aggregator: 'sum';
  readonly values: Value[];
}

export class BatchHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly labelNames: readonly string[] = [];
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  constructor({ name, help, buckets, registry }: BatchHistogramOptions) {
    this.name = name;
    this.help = help;
    this.#bounds = buckets;
    this.#counts = new Float64Array(buckets.length + 1);
    registry.registerMetric(this as unknown as Histogram);
  }

  /** What is no finite number was not measured. */
  observe(value: number): void {
    if (!Number.isFinite(value)) return;
    const bounds = this.#bounds;
    let index = 0;
    while (index < bounds.length && value > bounds[index]!) index += 1;
    this.#counts[index]! += 1;
    this.#sum += value;
  }

  reset(): void {
    this.#counts.fill(0);
    this.#sum = 0;
  }

  get(): Promise<Exposition> {
    const { name, help, type, aggregator } = this;
    const bucket = `${name}_bucket`;
    let count = 0;
    const values: Value[] = Array.from(this.#counts, (inBucket, index) => {
      count += inBucket;
      return { metricName: bucket, labels: { le: this.#bounds[index] ?? '+Inf' }, value: count };
    });
    values.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum });
    values.push({ metricName: `${name}_count`, labels: {}, value: count });
    return Promise.resolve({ name, help, type, aggregator, values });
  }
}
