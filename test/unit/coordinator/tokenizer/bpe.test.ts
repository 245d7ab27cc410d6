// Our merging against the tokenizer library's, over the golden vocabulary and over random ones.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BytePairEncoder } from '../../../../coordinator/tokenizer/bpe.js';
import { HuggingFaceTokenizer } from '../../../../coordinator/tokenizer/huggingface.js';
import { Tokenizer } from '../../../../coordinator/tokenizer/tokenizer.js';
import { readGoldenTokenizer } from '../../../support/tokenizer-folder.js';

describe('byte-pair merging', () => {
  it('gives the ids of the library for any text', () => {
    const json = readGoldenTokenizer();
    const library = new HuggingFaceTokenizer(json, {});
    const tokenizer = new Tokenizer(json);
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc
        .array(fc.constantFrom('the', 'quick', ' ', 're', 'squares', 'answer', '怎么', '12', 'h', 'e', 't'), {
          maxLength: 30,
        })
        .map((list) => list.join('')),
    );
    fc.assert(
      fc.property(text, (value) => {
        const ids = tokenizer.encodeOrdinary(value);
        assert.deepEqual(ids, value === '' ? [] : library.encode(value).ids);
        assert.equal(tokenizer.decode(ids), value);
      }),
      { numRuns: 1000 },
    );
  });

  it('merges lowest rank first, leftmost on a tie, over random vocabularies', () => {
    const letters = ['a', 'b', 'c'];
    const merges = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 14 });
    fc.assert(
      fc.property(merges, fc.array(fc.constantFrom(...letters), { maxLength: 40 }), (choices, piece) => {
        const tokens = [...letters];
        const pairs: [string, string][] = [];
        for (const [left, right] of choices) {
          const pair: [string, string] = [tokens[left % tokens.length]!, tokens[right % tokens.length]!];
          if (pairs.some(([l, r]) => l === pair[0] && r === pair[1])) continue;
          pairs.push(pair);
          if (!tokens.includes(pair.join(''))) tokens.push(pair.join(''));
        }
        const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
        const ids: number[] = [];
        new BytePairEncoder({ vocab, merges: pairs }).encode(piece.join(''), ids);
        assert.deepEqual(
          ids.map((id) => tokens[id]),
          naiveMerge(piece, pairs),
        );
      }),
      { numRuns: 1000 },
    );
  });

  it('takes a whole word first where the model ignores merges', () => {
    const vocab = { a: 0, b: 1, ab: 2, abab: 3 };
    const ids: number[] = [];
    const encoder = new BytePairEncoder({ vocab, merges: ['a b'], ignore_merges: true });
    encoder.encode('abab', ids);
    encoder.encode('aba', ids);
    assert.deepEqual(ids, [3, 2, 0]);
  });
});

/** The definition, one merge at a time. */
function naiveMerge(characters: readonly string[], pairs: readonly (readonly [string, string])[]): string[] {
  const word = [...characters];
  for (;;) {
    let best = -1;
    let bestRank = Infinity;
    for (let i = 0; i + 1 < word.length; i++) {
      const rank = pairs.findIndex(([left, right]) => left === word[i] && right === word[i + 1]);
      if (rank >= 0 && rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) return word;
    word.splice(best, 2, word[best]! + word[best + 1]!);
  }
}
