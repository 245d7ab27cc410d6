// The histogram of tokens and steps says what prom-client's own would say of the same values.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Histogram, Registry } from 'prom-client';
import { BatchHistogram } from '../../../../coordinator/observability/batch-histogram.js';
import * as buckets from '../../../../coordinator/observability/buckets.js';

const OPTIONS = { name: 'test_seconds', help: 'of a test', buckets: [0.1, 0.5, 2] };

describe('the histogram of tokens and steps', () => {
  it("gives what prom-client's gives, default labels included", async () => {
    // Sums of these are exact in any order.
    const value = fc.oneof(
      fc.integer({ min: 0, max: 64 }).map((n) => n / 16),
      fc.constantFrom(0.1, 0.5, 2),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(value, { maxLength: 40 }), async (values) => {
        const [ours, theirs] = [new Registry(), new Registry()];
        for (const registry of [ours, theirs]) registry.setDefaultLabels({ model_name: 'a "model"' });
        const own = new BatchHistogram({ ...OPTIONS, registry: ours });
        const other = new Histogram({ ...OPTIONS, registers: [theirs] });
        for (const each of values) {
          own.observe(each);
          other.observe(each);
        }
        assert.equal(await ours.metrics(), await theirs.metrics());
        assert.deepEqual(
          (await ours.getMetricsAsJSON()).map(({ name, type }) => [name, type]),
          [['test_seconds', 'histogram']],
        );
      }),
    );
  });

  it('takes no notice of what is no number, and can be set back', async () => {
    const registry = new Registry();
    const histogram = new BatchHistogram({ ...OPTIONS, registry });
    for (const value of [NaN, Infinity, -Infinity]) histogram.observe(value);
    assert.match(await registry.metrics(), /^test_seconds_count 0$/m);
    histogram.observe(1);
    assert.match(await registry.metrics(), /^test_seconds_count 1$/m);
    registry.resetMetrics();
    assert.match(await registry.metrics(), /^test_seconds_count 0$/m);
  });

  it('has bounds that ascend, everywhere', () => {
    for (const [name, bounds] of Object.entries(buckets)) {
      assert.deepEqual(
        [...new Set(bounds)].sort((one, other) => one - other),
        bounds,
        name,
      );
    }
  });
});
