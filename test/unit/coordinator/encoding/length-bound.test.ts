// The bound on a prompt's length before it is encoded: it refuses what cannot fit, and nothing that could.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  checkLength,
  refuseFarTooLong,
  textsThatCount,
} from '../../../../coordinator/encoding/length-bound.js';
import type { MessageInput, PromptInput } from '../../../../coordinator/requests/request-spec.js';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type { TextProcessor } from '../../../../coordinator/tokenizer/text-processor.js';
import { repoPath } from '../../../support/paths.js';

const chat = (...texts: string[]): PromptInput => ({
  kind: 'chat',
  messages: texts.map((text): MessageInput => ({ role: 'user', parts: [{ type: 'text', text }] })),
});
const refusal = { code: 'CONTEXT_LENGTH_EXCEEDED' };

describe('the bound on length before encoding', () => {
  const bound = { maxModelLength: 100, longestTokenBytes: 10 };

  it('counts bytes against the longest token, with a token of the answer to spare', () => {
    checkLength(chat('x'.repeat(990)), 0, bound);
    assert.throws(() => checkLength(chat('x'.repeat(991)), 0, bound), refusal);
    assert.throws(() => checkLength(chat('x'.repeat(500), 'y'.repeat(500)), 0, bound), refusal);
    assert.throws(() => checkLength(chat('x'.repeat(600)), 40, bound), refusal);
  });

  it('counts nothing that a template may drop: white space around, an assistant’s reasoning', () => {
    checkLength(chat(' '.repeat(5000)), 0, bound);
    const reasoning = `<think>${'x'.repeat(5000)}</think>yes`;
    const messages: MessageInput[] = [{ role: 'assistant', parts: [{ type: 'text', text: reasoning }] }];
    checkLength({ kind: 'chat', messages }, 0, bound);
  });

  it('counts a client’s ids as they are, their pictures among them or not', () => {
    const tokens = (count: number): PromptInput => ({
      kind: 'tokens',
      tokenIds: new Uint32Array(count),
      pictures: [],
    });
    checkLength(tokens(99), 90, bound);
    assert.throws(() => checkLength(tokens(100), 0, bound), refusal);
    assert.throws(() => checkLength(tokens(5), 100, bound), refusal);
  });

  describe('with a real vocabulary', () => {
    let text: TextProcessor;
    before(async () => {
      text = await loadTextProcessor({
        folder: repoPath('models', 'r1v-nano'),
        eosTokenIds: [],
        tokensPerTile: null,
      });
    });

    it('never refuses what fits', () => {
      const piece = fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.string({ unit: 'binary' }),
        fc.constantFrom(
          '\u1112\u1161\u11ab'.repeat(20),
          'a\u0323\u0302'.repeat(20),
          ' '.repeat(60),
          'the cat'.repeat(9),
        ),
      );
      fc.assert(
        fc.property(fc.array(piece, { minLength: 1, maxLength: 6 }), (pieces) => {
          const prompt = chat(pieces.join(''));
          const { tokenIds } = text.encodeChat([
            { role: 'user', parts: [{ type: 'text', text: pieces.join('') }] },
          ]);
          const limits = { maxModelLength: tokenIds.length + 1, longestTokenBytes: text.longestTokenBytes };
          checkLength(prompt, 0, limits);
        }),
      );
    });

    it('refuses what is far too long without encoding the rest of it', () => {
      let numChars = 0;
      const counting = {
        encodeText: (piece: string, options: { readonly allowSpecial: boolean }) => {
          numChars += piece.length;
          return text.encodeText(piece, options);
        },
      };
      const ask = (content: string) =>
        textsThatCount([{ role: 'user', parts: [{ type: 'text', text: content }] }]);
      const long = ask('the quick brown fox '.repeat(209_000));
      assert.throws(() => refuseFarTooLong(long, 20_000, counting), refusal);
      assert.ok(numChars < 100_000, `${numChars} characters were encoded`);
      refuseFarTooLong(ask('the quick brown fox '.repeat(20_000)), 1_000_000, text);
      refuseFarTooLong(ask('the quick brown fox '.repeat(10_000)), 1000, text);
    });

    it('counts what spells a special token as one where it is one', () => {
      const special = ['<|im_start|>'.repeat(25_000)];
      assert.throws(() => refuseFarTooLong(special, 30_000, text), refusal);
      refuseFarTooLong(special, 30_000, text, { allowSpecial: true });
    });
  });
});
