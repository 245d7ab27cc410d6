// Goal: what is drawn from a seed is the same every time, and has the distribution that it should: means and variances
// are held to five standard errors of the estimate, at fixed seeds.
import assert from 'node:assert/strict';
import { drawArrivals } from '../../../bench-serve/arrivals.js';
import { Random } from '../../../bench-serve/random.js';

const NUM_DRAWS = 40_000;

function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length;
  return { mean, variance };
}

describe('seeded chance', () => {
  it('gives the same draws for the same name, and others for any other', () => {
    const draws = (...name: (string | number)[]) => {
      const random = new Random(...name);
      return Array.from({ length: 8 }, () => random.uint32());
    };
    assert.deepEqual(draws(1, 'a'), draws(1, 'a'));
    const others = [draws(1, 'b'), draws(2, 'a'), draws('a', 1), draws(1, 'aa'), draws(1, 'a', 0)];
    for (const other of others) assert.ok(other.every((value, index) => value !== draws(1, 'a')[index]));
  });

  it('is uniform: tenths of the unit interval, integers with both ends', () => {
    const random = new Random(7, 'uniform');
    const tenths = new Array<number>(10).fill(0);
    for (let index = 0; index < NUM_DRAWS; index++) tenths[Math.floor(random.uniform() * 10)]! += 1;
    // Chi-squared of nine degrees: 27.9 at one in a thousand.
    const expected = NUM_DRAWS / 10;
    const chi = tenths.reduce((total, count) => total + (count - expected) ** 2 / expected, 0);
    assert.ok(chi < 27.9, `chi-squared ${chi}`);
    const seen = new Set(Array.from({ length: 200 }, () => random.integer(3, 6)));
    assert.deepEqual([...seen].sort(), [3, 4, 5, 6]);
  });

  for (const shape of [0.25, 1, 4, 100]) {
    it(`has a gamma of shape ${shape} with that mean and that variance`, () => {
      const random = new Random(11, 'gamma', shape);
      const { mean, variance } = moments(Array.from({ length: NUM_DRAWS }, () => random.gamma(shape)));
      const error = Math.sqrt(shape / NUM_DRAWS);
      assert.ok(Math.abs(mean - shape) < 5 * error, `mean ${mean}`);
      // The fourth central moment of a gamma is 3 k² + 6 k.
      const varianceError = Math.sqrt((2 * shape ** 2 + 6 * shape) / NUM_DRAWS);
      assert.ok(Math.abs(variance - shape) < 5 * varianceError, `variance ${variance}`);
    });
  }
});

describe('arrivals', () => {
  const draw = (options: Partial<Parameters<typeof drawArrivals>[1]>) =>
    drawArrivals(new Random(3, 'arrivals'), {
      ...{ rate: 50, burstiness: 1, count: NUM_DRAWS, durationMs: null },
      ...options,
    });
  const intervals = (times: readonly number[]) => times.slice(1).map((time, index) => time - times[index]!);

  for (const burstiness of [0.5, 1, 5]) {
    it(`come at the rate, with the spread that a burstiness of ${burstiness} asks for`, () => {
      const { mean, variance } = moments(intervals(draw({ burstiness })));
      const meanMs = 1000 / 50;
      const wanted = meanMs ** 2 / burstiness;
      assert.ok(Math.abs(mean - meanMs) < 5 * Math.sqrt(wanted / NUM_DRAWS), `mean ${mean}`);
      const error =
        (meanMs ** 2 / burstiness ** 2) * Math.sqrt((2 * burstiness ** 2 + 6 * burstiness) / NUM_DRAWS);
      assert.ok(Math.abs(variance - wanted) < 5 * error, `variance ${variance}, wanted ${wanted}`);
    });
  }

  it('are a Poisson process: the counts of seconds have the variance of their mean', () => {
    const counts = new Array<number>(400).fill(0);
    for (const time of draw({ durationMs: 400_000 })) counts[Math.floor(time / 1000)]! += 1;
    const { mean, variance } = moments(counts);
    assert.ok(Math.abs(mean - 50) < 5 * Math.sqrt(50 / 400), `mean ${mean}`);
    assert.ok(
      Math.abs(variance / mean - 1) < 5 * Math.sqrt(2 / 400),
      `variance over mean ${variance / mean}`,
    );
  });

  it('begin at 0, rise, and end with the duration or the count', () => {
    const times = draw({ count: 100 });
    assert.equal(times.length, 100);
    assert.equal(times[0], 0);
    assert.ok(intervals(times).every((interval) => interval >= 0));
    const short = draw({ durationMs: 1000 });
    assert.ok(short.length > 20 && short.at(-1)! < 1000);
    assert.deepEqual(draw({ rate: Infinity, count: 3 }), [0, 0, 0]);
  });

  it('of a duration are the beginning of those of a longer one', () => {
    const short = draw({ durationMs: 500 });
    assert.deepEqual(draw({ durationMs: 1000 }).slice(0, short.length), short);
  });
});
