// Goal: the benchmark of many streams over simulated ranks cannot rot: it runs, small, and its counting is right.
import assert from 'node:assert/strict';
import { numTokensOf } from '../../bench/streams/stream-load.js';
import { Histogram, summarise } from '../../bench/streams/histogram.js';
import { measureStreams } from '../../bench/streams/streams.js';
import { inferenceServiceDefinition } from '../../common/proto.js';

describe('streams over simulated ranks', function () {
  this.timeout(60_000);

  it('are measured: steps, tokens, memory, and nothing fails', async () => {
    const report = await measureStreams({
      ...{ streams: 6, worldSize: 2, stepMs: 5, seconds: 1.5, rampMs: 200, promptTokens: 20, newTokens: 40 },
    });
    assert.deepEqual(report.failures, {});
    assert.ok(report.steps > 20 && report.answers > 0 && report.memoryMib.length > 10);
    // A device's step takes what it takes, whatever the machine does beside.
    assert.ok(report.intervalMs.p50 >= 4.99 && report.overStep >= -0.001, JSON.stringify(report.intervalMs));
    assert.ok(report.tokensPerSecond > 0 && report.tokensPerMessage >= 1);
  });

  it('count the ids of messages without reading the rest', () => {
    const { responseSerialize } = inferenceServiceDefinition.Generate;
    const usage = { promptTokens: 300, completionTokens: 7, cachedTokens: 0, pictureTiles: 0 };
    for (const tokenIds of [[], [1], [127, 128, 70_000], new Array<number>(500).fill(151_000)]) {
      const message = {
        requestId: 'r',
        answerDelta: 'é'.repeat(200),
        tokenIds,
        usage,
        timings: { ttftMs: 1.5 },
      };
      const bytes = responseSerialize(message);
      assert.equal(numTokensOf(bytes, 0, bytes.length), tokenIds.length);
    }
  });

  it('have times by hundredths of a millisecond, since they were last asked for', () => {
    const times = new Histogram();
    for (const [ms, count] of [
      [5.005, 90],
      [5.015, 9],
      [7, 1],
    ] as const)
      for (let i = 0; i < count; i++) times.add(ms);
    assert.deepEqual(summarise(times.take()), { mean: 5.026, p50: 5, p99: 5.01, max: 7 });
    assert.equal(times.take().count, 0);
  });
});
