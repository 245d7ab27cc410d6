// Loading a text processor from a checkpoint folder: golden prompts and outputs, and files that are missing, huge or
// hostile.
import assert from 'node:assert/strict';
import { rmSync, readFileSync } from 'node:fs';
import { AppError, type ErrorCode } from '../../../../common/errors.js';
import { MAX_CHAT_TEMPLATE_CHARS } from '../../../../common/limits.js';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type { TextProcessor } from '../../../../coordinator/tokenizer/text-processor.js';
import { goldenPath } from '../../../support/paths.js';
import { readGoldenTokenizer, tokenizerWithAdded, writeFolder } from '../../../support/tokenizer-folder.js';

const GOLDEN = readGoldenTokenizer();
const HI = [{ role: 'user', parts: [{ type: 'text', text: 'hi' }] }] as const;

async function load(
  files: Readonly<Record<string, unknown>>,
  options: { readonly eosTokenIds?: readonly number[]; readonly tokensPerTile?: number | null } = {},
): Promise<TextProcessor> {
  const folder = writeFolder(files);
  try {
    return await loadTextProcessor({
      folder,
      eosTokenIds: options.eosTokenIds ?? [],
      tokensPerTile: options.tokensPerTile ?? null,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function rendered(processor: TextProcessor): string {
  return processor.decode(processor.encodeChat(HI).tokenIds);
}

describe('chat template of a checkpoint', () => {
  const simple = (name: string): string => `${name}:{% for m in messages %}{{ m['content'] }}{% endfor %}`;

  it('is the file of its own before the one in the configuration', async () => {
    const config = { chat_template: simple('config') };
    assert.equal(
      rendered(await load({ 'tokenizer.json': GOLDEN, 'tokenizer_config.json': config })),
      'config:hi',
    );
    const both = {
      'tokenizer.json': GOLDEN,
      'tokenizer_config.json': config,
      'chat_template.jinja': simple('file'),
    };
    assert.equal(rendered(await load(both)), 'file:hi');
    assert.equal(
      rendered(
        await load({ 'tokenizer.json': GOLDEN, 'chat_template.json': { chat_template: simple('old') } }),
      ),
      'old:hi',
    );
  });

  it('is the one named default in a list', async () => {
    const list = [
      { name: 'tool_use', template: simple('tools') },
      { name: 'default', template: simple('default') },
    ];
    assert.equal(
      rendered(await load({ 'tokenizer.json': GOLDEN, 'tokenizer_config.json': { chat_template: list } })),
      'default:hi',
    );
  });

  it('sees the named tokens, written as text or as objects', async () => {
    const config = {
      chat_template: "{{ bos_token }}{{ eos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
      bos_token: { content: '<|im_start|>' },
      eos_token: '<|im_end|>',
    };
    assert.equal(
      rendered(await load({ 'tokenizer.json': GOLDEN, 'tokenizer_config.json': config })),
      '<|im_start|><|im_end|>hi',
    );
  });

  it('gets a list of parts where it renders nothing for plain text', async () => {
    const template =
      "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}";
    assert.equal(rendered(await load({ 'tokenizer.json': GOLDEN, 'chat_template.jinja': template })), 'hi');
  });

  it('falls back to ChatML, with reasoning where the vocabulary has its tags', async () => {
    assert.equal(
      rendered(await load({ 'tokenizer.json': GOLDEN })),
      '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n',
    );
    const reasoning = tokenizerWithAdded([
      ['<think>', true],
      ['</think>', true],
    ]);
    const processor = await load({ 'tokenizer.json': reasoning });
    assert.match(rendered(processor), /<\|im_start\|>assistant\n<think>\n$/);
    assert.deepEqual(processor.defaultsTaken, [
      { setting: 'chat_template.jinja', value: 'ChatML that opens the reasoning', isFileMissing: true },
    ]);
  });

  it("falls back to R1V's full-width form", async () => {
    const names = [
      '<｜begin▁of▁sentence｜>',
      '<｜end▁of▁sentence｜>',
      '<｜User｜>',
      '<｜Assistant｜>',
      '<think>',
      '</think>',
    ];
    const json = tokenizerWithAdded(
      names.map((name) => [name, name.includes('sentence')]),
      { keepGolden: false },
    );
    const processor = await load({ 'tokenizer.json': json });
    assert.equal(rendered(processor), '<｜begin▁of▁sentence｜><｜User｜>\nhi<｜Assistant｜><think>\n');
    assert.equal(processor.encodeChat(HI).startsInReasoning, true);
    assert.deepEqual(
      [...processor.encodeChat(HI).tokenIds].filter((id) => id >= 373),
      [373, 375, 376, 377],
    );
    assert.deepEqual(processor.stopTokenIds, [374]);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['cannot be parsed', '{% for m in messages %}', /cannot be parsed/],
    ['shows no user text', 'constant', /does not render a user message/],
    ['raises for everything', "{{ raise_exception('never') }}", /does not render a user message: never/],
    ['is too long', ' '.repeat(MAX_CHAT_TEMPLATE_CHARS + 1), /at most 262144 are accepted/],
    [
      'loops without end',
      `${'{% for a in range(99999) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`,
      /took longer than 2000 ms/,
    ],
    [
      'asks for a huge range',
      '{% for a in range(10000000000) %}x{% endfor %}',
      /range\(\) of more than 100000 numbers/,
    ],
  ];
  for (const [name, template, message] of refused) {
    it(`is refused at start if it ${name}`, async () => {
      await assert.rejects(load({ 'tokenizer.json': GOLDEN, 'chat_template.jinja': template }), {
        code: 'UNSUPPORTED_MODEL',
        message,
      });
    });
  }

  it('cannot multiply text without bound', async () => {
    const template =
      "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}";
    await assert.rejects(load({ 'tokenizer.json': GOLDEN, 'chat_template.jinja': template }), {
      code: 'UNSUPPORTED_MODEL',
    });
  });

  it('has no way into JavaScript', async () => {
    const template =
      "{% for m in messages %}{{ m['content'] }}{% endfor %}{{ messages.constructor.constructor('return process')() }}";
    await assert.rejects(load({ 'tokenizer.json': GOLDEN, 'chat_template.jinja': template }), {
      code: 'UNSUPPORTED_MODEL',
    });
  });

  it('that refuses the messages gives INVALID_REQUEST with its reason', async () => {
    const template =
      "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ m['content'] }}{% endfor %}";
    const processor = await load({ 'tokenizer.json': GOLDEN, 'chat_template.jinja': template });
    assert.equal(rendered(processor), 'hi');
    const messages = [{ role: 'system', parts: [{ type: 'text', text: 'x' }] }, ...HI] as const;
    assert.throws(() => processor.encodeChat(messages), {
      code: 'INVALID_REQUEST',
      message: /no system role/,
    });
  });
});

describe('stop ids of a checkpoint', () => {
  it('are the union of all files, by number and by name', async () => {
    const files = {
      'tokenizer.json': GOLDEN,
      'generation_config.json': { eos_token_id: [5, 7] },
      'tokenizer_config.json': { eos_token: { content: '<|endoftext|>' } },
    };
    assert.deepEqual((await load(files, { eosTokenIds: [7, 3] })).stopTokenIds, [3, 5, 7, 367, 369]);
    assert.deepEqual(
      (await load({ ...files, 'generation_config.json': { eos_token_id: 5 } })).stopTokenIds,
      [5, 367, 369],
    );
    assert.deepEqual(
      (await load({ 'tokenizer.json': GOLDEN, 'generation_config.json': {} })).stopTokenIds,
      [367, 369],
    );
  });

  it("do not take Qwen's numbers in R1V's vocabulary, where they mean the speakers", async () => {
    const json = tokenizerWithAdded([], { keepGolden: false });
    [
      ['<｜end▁of▁sentence｜>', 151643],
      ['<｜User｜>', 151644],
      ['<｜Assistant｜>', 151645],
    ].forEach(([content, id]) =>
      json.added_tokens.push({ id: id as number, content: content as string, special: true }),
    );
    assert.deepEqual(
      (await load({ 'tokenizer.json': json }, { eosTokenIds: [151643] })).stopTokenIds,
      [151643],
    );
  });
});

describe('broken checkpoint folders', () => {
  const bos = { 'tokenizer.json': GOLDEN };
  const model = GOLDEN['model'] as Record<string, unknown>;
  const cases: readonly (readonly [string, Readonly<Record<string, unknown>>, ErrorCode, RegExp])[] = [
    ['no tokenizer.json', {}, 'CORRUPT_WEIGHTS', /tokenizer\.json is missing/],
    [
      'truncated JSON',
      { 'tokenizer.json': '{"model": {' },
      'CORRUPT_WEIGHTS',
      /tokenizer\.json is no valid JSON/,
    ],
    ['a list', { 'tokenizer.json': '[]' }, 'CORRUPT_WEIGHTS', /tokenizer\.json: expected an object/],
    ['no model', { 'tokenizer.json': {} }, 'CORRUPT_WEIGHTS', /expected an object with a "model"/],
    [
      'another model',
      { 'tokenizer.json': { ...GOLDEN, model: { type: 'Unigram' } } },
      'UNSUPPORTED_MODEL',
      /Unigram/,
    ],
    [
      'another decoder',
      { 'tokenizer.json': { ...GOLDEN, decoder: { type: 'Metaspace' } } },
      'UNSUPPORTED_MODEL',
      /ByteLevel/,
    ],
    [
      'an id that is no number',
      { 'tokenizer.json': { ...GOLDEN, model: { ...model, vocab: { a: 'x' } } } },
      'CORRUPT_WEIGHTS',
      /no whole number/,
    ],
    [
      'a merge of unknown tokens',
      { 'tokenizer.json': { ...GOLDEN, model: { ...model, merges: [['zz', 'yy']] } } },
      'CORRUPT_WEIGHTS',
      /merge 0 /,
    ],
    [
      'byte fallback',
      { 'tokenizer.json': { ...GOLDEN, model: { ...model, byte_fallback: true } } },
      'UNSUPPORTED_MODEL',
      /byte_fallback/,
    ],
    [
      'an added token without id',
      { 'tokenizer.json': { ...GOLDEN, added_tokens: [{ content: 'x' }] } },
      'CORRUPT_WEIGHTS',
      /without id/,
    ],
    [
      'an unknown pre-tokenizer',
      { 'tokenizer.json': { ...GOLDEN, pre_tokenizer: { type: 'Nonsense' } } },
      'UNSUPPORTED_MODEL',
      /cannot be used/,
    ],
    [
      'eos that is no id',
      { ...bos, 'generation_config.json': { eos_token_id: 'x' } },
      'CORRUPT_WEIGHTS',
      /generation_config\.json/,
    ],
    [
      'broken tokenizer_config.json',
      { ...bos, 'tokenizer_config.json': '{' },
      'CORRUPT_WEIGHTS',
      /tokenizer_config\.json/,
    ],
    [
      'no template for its vocabulary',
      { 'tokenizer.json': { ...GOLDEN, added_tokens: [] } },
      'UNSUPPORTED_MODEL',
      /no chat template/,
    ],
  ];
  for (const [name, files, code, message] of cases) {
    it(`are refused with ${code}: ${name}`, async () => {
      await assert.rejects(load(files), (error: unknown) => {
        assert.ok(error instanceof AppError, String(error));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /skein-tokenizer-/);
        return true;
      });
    });
  }

  it('are refused where a vision model lacks its image tokens', async () => {
    const files = {
      'tokenizer.json': {
        ...GOLDEN,
        added_tokens: GOLDEN.added_tokens.filter((token) => token.content !== '<IMG_CONTEXT>'),
      },
    };
    await assert.rejects(load(files, { tokensPerTile: 4 }), {
      code: 'UNSUPPORTED_MODEL',
      message: /<IMG_CONTEXT>/,
    });
    await load(files);
  });

  it('leave the golden folder usable (the accepted case)', async () => {
    assert.ok(readFileSync(goldenPath('tiny-text', 'tokenizer.json')).length > 0);
    await loadTextProcessor({ folder: goldenPath('tiny-text'), eosTokenIds: [], tokensPerTile: null });
  });
});
