// Goal: a seed over HTTP keeps all of its 64 bits, wherever and however it stands in the body, and is refused with its
// digits and the range where it has more.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { addExactSeed, EXACT_SEED, toSeed } from '../../../../coordinator/gateway/http/exact-seed.js';

/** As a request goes through it. */
function seedOf(text: string): bigint {
  const body = JSON.parse(text) as { seed: number; [EXACT_SEED]?: string };
  addExactSeed(body, text);
  return toSeed(body.seed, body[EXACT_SEED]);
}

describe('a seed over HTTP', () => {
  it('keeps all bits of every integer that has no more than 64', () => {
    const seeds = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(seeds, fc.json(), (seed, other) => {
        const text = `{"before": ${other}, "seed": ${seed}, "after": ${other}}`;
        assert.equal(seedOf(text), BigInt.asUintN(64, seed));
      }),
    );
  });

  for (const [what, text, seed] of [
    ['at the ends of what a number holds', '{"seed":9007199254740991}', 2n ** 53n - 1n],
    ['just beyond them', '{"seed":9007199254740993}', 2n ** 53n + 1n],
    ['below them', '{"seed":-9007199254740993}', 2n ** 64n - 2n ** 53n - 1n],
    ['the greatest', '{"seed" :\n18446744073709551615}', 2n ** 64n - 1n],
    ['the least', '{"seed":-9223372036854775808 }', 2n ** 63n],
    ['by a name with an escape', '{"\\u0073eed":9007199254740993}', 2n ** 53n + 1n],
    ['the last of two', '{"seed":9007199254740995,"seed":9007199254740993}', 2n ** 53n + 1n],
    ['not one further down', '{"a":[{"seed":9007199254740995}],"seed":9007199254740993}', 2n ** 53n + 1n],
    ['not one in a text', '{"seed":9007199254740993,"a":"\\"seed\\":9007199254740995,\\\\"}', 2n ** 53n + 1n],
    ['no value of that name', '{"a":"seed","seed":9007199254740993,"b":"seed"}', 2n ** 53n + 1n],
    ['small, in another form', '{"seed":1e3}', 1000n],
  ] as const) {
    it(`is exact: ${what}`, () => assert.equal(seedOf(text), seed));
  }

  it('is refused with its digits and the range where it is beyond 64 bits, or is not written in digits', () => {
    for (const digits of [
      '18446744073709551616',
      '-9223372036854775809',
      '1e300',
      '1.5e17',
      '1' + '0'.repeat(99),
    ]) {
      assert.throws(() => seedOf(`{"seed":${digits}}`), {
        code: 'INVALID_REQUEST',
        message:
          'seed must be an integer of -9223372036854775808 to 18446744073709551615, written in digits; ' +
          `got ${digits.slice(0, 50)}`,
      });
    }
  });

  it('is looked up in a large body in no more time than parsing takes', () => {
    const text = `{"a":"${'\\\\\\"'.repeat(2 ** 20)}","b":[${'[],'.repeat(2 ** 18)}[]],"seed":9007199254740993}`;
    const startMs = performance.now();
    assert.equal(seedOf(text), 2n ** 53n + 1n);
    assert.ok(performance.now() - startMs < 2_000);
  });
});
