// Which files add tokens to a tokenizer, and which ids they get: against what transformers makes of the same folders
// (make-token-cases.py), and of two checkpoints whose tokens stand in tokenizer_config.json only.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import { readTokenizerFiles } from '../../../../coordinator/tokenizer/tokenizer-files.js';
import { goldenPath, repoPath } from '../../../support/paths.js';
import {
  readGoldenTokenizer,
  writeFolder,
  type TestTokenizerJson,
} from '../../../support/tokenizer-folder.js';

interface TokenCase {
  readonly files: Readonly<Record<string, unknown>>;
  readonly ids: readonly number[];
  readonly added: Readonly<Record<string, readonly [id: number, isSpecial: boolean]>>;
}

const FOLDER = ['test', 'unit', 'coordinator', 'tokenizer'] as const;
const { text: TEXT, cases: CASES } = JSON.parse(
  readFileSync(repoPath(...FOLDER, 'token-cases.json'), 'utf8'),
) as { readonly text: string; readonly cases: Readonly<Record<string, TokenCase>> };
const GOLDEN = readGoldenTokenizer();
const MODEL = GOLDEN['model'] as { vocab: object; merges: readonly (string | readonly string[])[] };
const MERGES = MODEL.merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' ')));
const GOLDEN_FILES: Readonly<Record<string, unknown>> = {
  'tokenizer.json': GOLDEN,
  'vocab.json': MODEL.vocab,
  'merges.txt': `#version: 0.2\n${MERGES.join('\n')}\n`,
};
const TEMPLATE = { 'chat_template.jinja': "{% for m in messages %}{{ m['content'] }}{% endfor %}" };

async function withFolder<T>(
  files: Readonly<Record<string, unknown>>,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = writeFolder(files);
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('files of a tokenizer', () => {
  it('are all in the table', () => assert.ok(Object.keys(CASES).length >= 15));

  for (const [name, { files, ids, added }] of Object.entries(CASES)) {
    it(name, async () => {
      const filled: Record<string, unknown> = { ...TEMPLATE };
      for (const [file, content] of Object.entries(files))
        filled[file] = content === 'golden' ? GOLDEN_FILES[file] : content;
      await withFolder(filled, async (folder) => {
        const { tokenizerJson } = await readTokenizerFiles(folder);
        const tokens = tokenizerJson['added_tokens'] as TestTokenizerJson['added_tokens'];
        const found = Object.fromEntries(tokens.map(({ content, id, special }) => [content, [id, special]]));
        assert.deepEqual(found, added);
        const processor = await loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile: null });
        assert.deepEqual([...processor.encodeText(TEXT, { allowSpecial: true })], ids);
        const text = processor.decode(ids);
        assert.equal(text.replaceAll(' ', ''), TEXT.replaceAll(' ', ''));
      });
    });
  }

  /** A checkpoint's files with some tokens moved from tokenizer.json to added_tokens_decoder. */
  function moveTokens(folder: string, contents: readonly string[]): Readonly<Record<string, unknown>> {
    const read = (file: string) => JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as TestTokenizerJson;
    const tokenizer = read('tokenizer.json');
    const entries = tokenizer.added_tokens.map(({ id, ...token }) => [String(id), token]);
    return {
      'tokenizer.json': {
        ...tokenizer,
        added_tokens: tokenizer.added_tokens.filter(({ content }) => !contents.includes(content)),
      },
      'tokenizer_config.json': {
        ...read('tokenizer_config.json'),
        added_tokens_decoder: Object.fromEntries(entries) as object,
      },
    };
  }

  it('give the picture token of tokenizer_config.json its id', async () => {
    const files = moveTokens(goldenPath('tiny-hf-layout'), ['<IMG_CONTEXT>']);
    await withFolder(files, async (folder) => {
      const processor = await loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile: 4 });
      assert.equal(processor.pictureTokenId, 372);
      const { tokenIds } = processor.encodeChat([
        { role: 'user', parts: [{ type: 'picture', numTiles: 1 }] },
      ]);
      assert.equal(tokenIds.filter((id) => id === 372).length, 4);
    });
  });

  it('give reasoning tags of tokenizer_config.json one id each, at which the output is split', async () => {
    const files = moveTokens(repoPath('models', 'r1v-nano'), ['<think>', '</think>']);
    await withFolder(files, async (folder) => {
      const processor = await loadTextProcessor({ folder, eosTokenIds: [], tokensPerTile: 4 });
      const prompt = processor.encodeChat([{ role: 'user', parts: [{ type: 'text', text: 'Hi' }] }]);
      assert.equal(prompt.tokenIds.filter((id) => id === 608).length, 1);
      assert.equal(prompt.startsInReasoning, true);
      const output = processor.createOutput({ startsInReasoning: true, stop: [] });
      const ids = [...processor.encodeText('why</think>42', { allowSpecial: true })];
      assert.ok(ids.includes(609));
      const { reasoning, answer } = output.push(ids);
      assert.deepEqual([reasoning, answer + output.finish().answer], ['why', '42']);
    });
  });

  const token = (content: string) => ({ content, special: true });
  const refused: readonly (readonly [string, Readonly<Record<string, unknown>>, RegExp])[] = [
    [
      'another id than the vocabulary gives',
      { 'tokenizer_config.json': { added_tokens_decoder: { 5: token('<|im_end|>') } } },
      /tokenizer_config\.json gives the token <\|im_end\|> the id 5; by the other files it is 369/,
    ],
    [
      'a gap before a new token',
      { 'added_tokens.json': { '<think>': 400 } },
      /added_tokens\.json gives the token <think> the id 400; by the other files it is 373/,
    ],
    [
      'no token',
      { 'tokenizer_config.json': { added_tokens_decoder: { 5: 'text' } } },
      /added_tokens_decoder\["5"\] is no token/,
    ],
    ['a list for an object', { 'added_tokens.json': [] }, /added_tokens\.json: expected an object/],
    ['an id that is none', { 'added_tokens.json': { a: 'b' } }, /added_tokens\.json: "a" has no id/],
    [
      'an entry that is no token',
      { 'special_tokens_map.json': { additional_special_tokens: [7] } },
      /special_tokens_map\.json: extra_special_tokens has an entry that is no token/,
    ],
  ];
  for (const [name, files, message] of refused) {
    it(`refuses ${name}`, async () => {
      await withFolder({ 'tokenizer.json': GOLDEN, ...files }, async (folder) => {
        await assert.rejects(readTokenizerFiles(folder), { code: 'CORRUPT_WEIGHTS', message });
      });
    });
  }

  it('refuse vocab.json without merges.txt', async () => {
    await withFolder({ 'vocab.json': MODEL.vocab }, async (folder) => {
      await assert.rejects(readTokenizerFiles(folder), {
        code: 'CORRUPT_WEIGHTS',
        message: /tokenizer\.json is missing .* and so is vocab\.json or merges\.txt/,
      });
    });
  });
});
