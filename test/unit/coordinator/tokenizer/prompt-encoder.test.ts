// Prompts: pictures become the right number of image tokens, and user text never becomes a special token.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import { MAX_MESSAGES, MAX_PICTURES_PER_REQUEST, MAX_PROMPT_CHARS } from '../../../../common/limits.js';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type {
  ChatMessage,
  ChatPart,
  TextProcessor,
} from '../../../../coordinator/tokenizer/text-processor.js';
import { tokenizerWithAdded, writeFolder } from '../../../support/tokenizer-folder.js';

const [END, IM_START, IM_END, IMG, IMG_END, CONTEXT, THINK, THINK_END] = [
  367, 368, 369, 370, 371, 372, 373, 374,
];
const SPECIAL_SPELLINGS = [
  '<|im_end|>',
  '<|im_start|>',
  '<image>',
  '<img>',
  '</img>',
  '<IMG_CONTEXT>',
  '<think>',
  '</think>',
  '<|endoftext|>',
];

function user(...parts: (string | number)[]): ChatMessage {
  return { role: 'user', parts: parts.map(toPart) };
}

function toPart(part: string | number): ChatPart {
  return typeof part === 'string' ? { type: 'text', text: part } : { type: 'picture', numTiles: part };
}

function assistant(text: string): ChatMessage {
  return { role: 'assistant', parts: [{ type: 'text', text }] };
}

describe('prompt encoding', () => {
  let processor: TextProcessor;
  const folders: string[] = [];

  async function load(
    files: Readonly<Record<string, unknown>>,
    tokensPerTile: number | null = 2,
  ): Promise<TextProcessor> {
    const folder = writeFolder(files);
    folders.push(folder);
    return loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile });
  }

  const tokenizerJson = tokenizerWithAdded([
    ['<think>', false],
    ['</think>', false],
  ]);

  before(async () => {
    processor = await load({ 'tokenizer.json': tokenizerJson });
  });
  after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));

  function encode(...messages: ChatMessage[]): number[] {
    return [...processor.encodeChat(messages).tokenIds];
  }

  function ordinary(text: string): number[] {
    return [...processor.encodeText(text, { allowSpecial: false })];
  }

  /** What the fallback ChatML template puts around one user message whose text has no special spelling. */
  function expectedIds(content: string): number[] {
    return [
      IM_START,
      ...ordinary(`user\n${content}`),
      IM_END,
      ...ordinary('\n'),
      IM_START,
      ...ordinary('assistant\n'),
      THINK,
      ...ordinary('\n'),
    ];
  }

  it('keeps the order of text and pictures, each picture on a line', () => {
    const prompt = processor.encodeChat([user('first ', 1, 'then ', 3, 'end')]);
    const ids = [...prompt.tokenIds];
    assert.equal(
      processor.decode(ids),
      '<|im_start|>user\nfirst <img><IMG_CONTEXT><IMG_CONTEXT></img>\nthen <img>' +
        `${'<IMG_CONTEXT>'.repeat(6)}</img>\nend<|im_end|>\n<|im_start|>assistant\n<think>\n`,
    );
    assert.deepEqual(
      prompt.pictures.map((picture) => picture.numTokens),
      [2, 6],
    );
    for (const { firstPosition, numTokens } of prompt.pictures) {
      assert.equal(ids[firstPosition - 1], IMG);
      assert.deepEqual(new Set(ids.slice(firstPosition, firstPosition + numTokens)), new Set([CONTEXT]));
      assert.equal(ids[firstPosition + numTokens], IMG_END);
    }
  });

  it('sees that the prompt leaves the model in reasoning', async () => {
    assert.equal(processor.encodeChat([user('hi')]).startsInReasoning, true);
    const template = "{% for m in messages %}{{ m['content'] }}{% endfor %}{{ '<|im_start|>' }}";
    const other = await load({ 'tokenizer.json': tokenizerJson, 'chat_template.jinja': template });
    assert.equal(other.encodeChat([user('hi')]).startsInReasoning, false);
    const atEnd = await load({
      'tokenizer.json': tokenizerJson,
      'chat_template.jinja': "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    });
    assert.equal(atEnd.encodeChat([user('spelt by the user: <think>')]).startsInReasoning, false);
  });

  for (const spelling of SPECIAL_SPELLINGS) {
    it(`reads ${spelling} in user text as plain text`, () => {
      const text = `a ${spelling} b${spelling}${spelling}`;
      const ids = encode(user(text));
      assert.deepEqual(ids, expectedIds(text));
      assert.ok(processor.decode(ids).includes(text));
    });
  }

  it('reads special spellings in system and assistant text as plain text too', () => {
    const ids = encode(
      { role: 'system', parts: [toPart('<|im_end|>')] },
      user('x'),
      assistant('<|im_start|>system'),
      user('y'),
    );
    assert.equal(ids.filter((id) => id === IM_START).length, 5);
    assert.equal(ids.filter((id) => id === IM_END).length, 4);
    assert.ok(!ids.includes(END));
  });

  it('does not let two parts, or text and template, spell one together', async () => {
    assert.deepEqual(encode(user('<|im_', 'end|>')), expectedIds('<|im_end|>'));
    assert.equal(encode(user('<ima', 1, 'ge>')).filter((id) => id === IMG).length, 1);
    const template = "{% for m in messages %}{{ '<|im_' + m['content'] + 'end|>' }}{% endfor %}";
    const joining = await load({ 'tokenizer.json': tokenizerJson, 'chat_template.jinja': template });
    assert.deepEqual([...joining.encodeChat([user('end|>')]).tokenIds], ordinary('<|im_end|>end|>'));
    assert.deepEqual([...joining.encodeChat([user('<|im_')]).tokenIds], ordinary('<|im_<|im_end|>'));
  });

  it('gives ordinary text the ids that it has anywhere, at the borders too', () => {
    const piece = fc.constantFrom(
      ' ',
      '\n',
      '\n\n',
      'the',
      ' quick',
      '12',
      '<',
      '>',
      '|',
      '<|',
      '|>',
      '</',
      'im_end',
      'think',
      '怎么',
      '图',
      'é',
      'e\u0301',
      '🐀',
      '\ud83d',
      '\udc00',
      '\ud800',
      '\u0000',
      '\u200b',
      'א',
      '\u{10000}',
      "'s",
      '_',
      ...SPECIAL_SPELLINGS,
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        const ids = encode(user(text));
        assert.deepEqual(ids, expectedIds(text));
        assert.deepEqual(ids.filter((id) => id >= 367).length, 4);
      }),
      { numRuns: 300 },
    );
  });

  it('replaces lone surrogates and keeps NUL, zero-width and right-to-left characters', () => {
    const decoded = processor.decode(encode(user('a\ud800b\udc00c\0d\u200b\u202eש👩‍👩‍👧')));
    assert.ok(decoded.includes('a\ufffdb\ufffdc\0d\u200b\u202eש👩‍👩‍👧'));
    assert.equal(processor.decode(processor.encodeText('x\udc00y', { allowSpecial: true })), 'x\ufffdy');
  });

  it('recognises special tokens in raw text only where allowed', () => {
    assert.deepEqual([...processor.encodeText('<|im_end|>', { allowSpecial: true })], [IM_END]);
    assert.ok(ordinary('<|im_end|>').length > 1 && !ordinary('<|im_end|>').includes(IM_END));
    assert.deepEqual(ordinary(''), []);
  });

  it('drops earlier reasoning from the history where no template says otherwise', () => {
    const ids = encode(user('one'), assistant('<think>\nold thoughts\n</think>\n\nanswer one'), user('two'));
    const decoded = processor.decode(ids);
    assert.ok(decoded.includes('<|im_start|>assistant\nanswer one<|im_end|>'), decoded);
    assert.ok(!decoded.includes('old thoughts'));
    assert.equal(ids.filter((id) => id === THINK_END).length, 0);
  });

  it('leaves earlier reasoning, tags and line breaks, to the template', async () => {
    const render = async (content: string): Promise<readonly number[]> => {
      const template = `{% for m in messages %}{{ m['role'] + ':' + ${content} + ';' }}{% endfor %}`;
      const own = await load({ 'tokenizer.json': tokenizerJson, 'chat_template.jinja': template });
      const history = [user('q'), assistant('<think>a</think>\n\nb<|im_end|>')];
      const ids = [...own.encodeChat(history).tokenIds];
      assert.ok(!ids.includes(IM_END), 'other special tokens stay text');
      assert.equal(own.encodeChat(history).startsInReasoning, false);
      return ids;
    };
    const marked = (text: string): number[] => [...processor.encodeText(text, { allowSpecial: true })];
    const cut = await render("(m['content'].split('</think>')|last)");
    assert.deepEqual(cut, ordinary('user:q;assistant:\n\nb<|im_end|>;'));
    const kept = await render("m['content']");
    assert.deepEqual(kept, [...marked('user:q;assistant:<think>a</think>'), ...ordinary('\n\nb<|im_end|>;')]);
    assert.deepEqual(
      kept.filter((id) => id === THINK || id === THINK_END),
      [THINK, THINK_END],
    );
  });

  describe('refuses', () => {
    const picture: ChatPart = { type: 'picture', numTiles: 1 };
    const cases: readonly (readonly [string, readonly ChatMessage[], string, RegExp])[] = [
      ['no messages', [], 'messages', /messages is empty/],
      [
        'too many messages',
        Array<ChatMessage>(MAX_MESSAGES + 1).fill(user('x')),
        'messages',
        new RegExp(`at most ${MAX_MESSAGES}`),
      ],
      [
        'an unknown role',
        [{ role: 'robot' as 'user', parts: [] }],
        'messages[0].role',
        /must be one of system, user, assistant/,
      ],
      [
        'a text part without text',
        [{ role: 'user', parts: [{ type: 'text' }] }],
        'messages[0].parts[0]',
        /has no text/,
      ],
      [
        'a picture without tiles',
        [{ role: 'user', parts: [{ type: 'picture', numTiles: 0 }] }],
        'messages[0].parts[0]',
        /number of tiles/,
      ],
      [
        'too much text',
        [user('x'.repeat(MAX_PROMPT_CHARS / 2 + 1), 'x'.repeat(MAX_PROMPT_CHARS / 2))],
        'messages',
        new RegExp(`at most ${MAX_PROMPT_CHARS}`),
      ],
      [
        'too many pictures',
        [{ role: 'user', parts: Array<ChatPart>(MAX_PICTURES_PER_REQUEST + 1).fill(picture) }],
        'messages',
        /21 pictures; at most 20/,
      ],
    ];
    for (const [name, messages, param, message] of cases) {
      it(name, () => {
        assert.throws(
          () => processor.encodeChat(messages),
          (error: unknown) => {
            assert.ok(error instanceof AppError && error.code === 'INVALID_REQUEST', String(error));
            assert.equal(error.details['param'], param);
            assert.match(error.message, message);
            return true;
          },
        );
      });
    }

    it('pictures for a text-only model', async () => {
      const textOnly = await load({ 'tokenizer.json': tokenizerJson }, null);
      assert.throws(() => textOnly.encodeChat([user(1)]), {
        code: 'INVALID_REQUEST',
        message: /takes text only/,
      });
    });

    it('pictures that the template does not show', async () => {
      const template = "{% for m in messages %}{{ m['content'].split('<image>')|last }}{% endfor %}";
      const losing = await load({ 'tokenizer.json': tokenizerJson, 'chat_template.jinja': template });
      assert.throws(() => losing.encodeChat([user(1, 'x')]), {
        code: 'INVALID_REQUEST',
        message: /shows 0 pictures where the messages have 1/,
      });
    });

    it('raw text over the limit', () => {
      const text = 'x'.repeat(MAX_PROMPT_CHARS + 1);
      assert.throws(() => processor.encodeText(text, { allowSpecial: false }), { code: 'INVALID_REQUEST' });
    });
  });

  it('stays linear for text made to be slow', function () {
    this.timeout(20_000);
    for (const text of [
      ' '.repeat(300_000),
      'a'.repeat(300_000),
      '<'.repeat(300_000),
      '<|im_end|>'.repeat(30_000),
    ]) {
      const startMs = performance.now();
      assert.ok(encode(user(text)).length > 1000);
      const elapsedMs = performance.now() - startMs;
      assert.ok(elapsedMs < 4000, `${text.slice(0, 10)}: ${elapsedMs} ms`);
    }
  });
});
