// Goal: the same seed asks the same, whatever else is asked beside it; lengths, shared beginnings and traces are what
// was asked for; text has exactly the tokens that it should in tokenizers that differ.
import assert from 'node:assert/strict';
import { fitText } from '../../../bench-serve/fit-text.js';
import { PictureMaker } from '../../../bench-serve/pictures.js';
import { continuePrompt, PromptMaker, type PromptForm, type Tokenize } from '../../../bench-serve/prompts.js';
import { Random } from '../../../bench-serve/random.js';
import type { Prompt } from '../../../bench-serve/target.js';
import { parseTrace } from '../../../bench-serve/trace.js';
import {
  drawConversations,
  traceConversations,
  type WorkloadOptions,
} from '../../../bench-serve/workload.js';

const WORKLOAD: WorkloadOptions = {
  ...{ seed: 5, inputLength: 40, outputLength: 20, rangeRatio: 0, prefixLength: 0, numPrefixes: 1 },
  ...{ pictures: 0, pictureWidth: 64, pictureHeight: 48, picturePool: 0, turns: 1, thinkTimeMs: 0 },
};
const ARRIVALS = { rate: 10, burstiness: 1, count: 30, durationMs: null };

const draw = (changes: Partial<WorkloadOptions> = {}, point = 'rate-0', count = 30) =>
  drawConversations({ ...WORKLOAD, ...changes }, { ...ARRIVALS, count }, point);

/** A template of seven tokens; every run of letters and every other character but spaces is a token. */
const byWords: Tokenize = async (text, asChat) =>
  new Array<number>((text.match(/[a-z]+|[^a-z ]/gi) ?? []).length + (asChat ? 7 : 0)).fill(3);
/** Two letters a token, within words; spaces belong to what follows. */
const byPairs: Tokenize = async (text, asChat) =>
  new Array<number>(
    text.split(/(?= )/).reduce((sum, word) => sum + Math.ceil(word.trim().length / 2), 0) + (asChat ? 20 : 0),
  ).fill(3);

async function makerOf(form: PromptForm, tokenize: Tokenize = byWords): Promise<PromptMaker> {
  const served = { vocabSize: 1000, pictureTokenId: 999 };
  const pictures = new PictureMaker({ seed: 5, width: 64, height: 48 });
  return PromptMaker.create({ seed: 5, form, served, tokenize, pictures });
}

async function promptsOf(form: PromptForm, changes: Partial<WorkloadOptions> = {}, point = 'rate-0') {
  const maker = await makerOf(form);
  const prepared = await Promise.all(draw(changes, point, 6).map((each) => maker.prepare(each)));
  return prepared.map(({ turns }) => turns[0]!.prompt);
}

const idsOf = (prompt: Prompt) => (prompt.kind === 'ids' ? [...prompt.ids] : assert.fail('ids are expected'));

describe('a workload', () => {
  it('is the same for the same seed, and its beginning does not change with its length', () => {
    const changes = {
      rangeRatio: 0.5,
      prefixLength: 8,
      numPrefixes: 4,
      pictures: 1,
      picturePool: 3,
      turns: 2,
    };
    assert.deepEqual(draw(changes), draw(changes));
    assert.deepEqual(draw(changes).slice(0, 10), draw(changes, 'rate-0', 10));
    assert.notDeepEqual(draw(changes), draw({ ...changes, seed: 6 }));
  });

  it('has the same ids, texts and pictures for the same seed', async () => {
    const changes = { prefixLength: 12, numPrefixes: 2, pictures: 1 };
    assert.deepEqual(await promptsOf('ids', changes), await promptsOf('ids', changes));
    assert.deepEqual(await promptsOf('messages', changes), await promptsOf('messages', changes));
  });

  it('asks nothing twice, at another rate neither', async () => {
    const all = [...(await promptsOf('ids')), ...(await promptsOf('ids', {}, 'rate-1'))].map(idsOf);
    assert.equal(new Set(all.map((ids) => ids.slice(0, 8).join())).size, 12);
  });

  it('has fixed lengths, or lengths uniform within the ratio', () => {
    for (const { turns } of draw()) assert.deepEqual(turns[0]!.outputTokens, 20);
    const lengths = draw({ rangeRatio: 0.5 }, 'rate-0', 4000).map(({ turns }) => turns[0]!.outputTokens);
    assert.deepEqual([Math.min(...lengths), Math.max(...lengths)], [10, 30]);
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
    // Uniform over 21 values: a standard deviation of 6.06.
    assert.ok(Math.abs(mean - 20) < (5 * 6.06) / Math.sqrt(4000), `mean ${mean}`);
  });

  it('shares prefixes as often as it has them, and none with another rate', async () => {
    const changes = { prefixLength: 12, numPrefixes: 2 };
    const starts = (prompts: Prompt[]) => new Set(prompts.map((prompt) => idsOf(prompt).slice(0, 12).join()));
    const here = starts(await promptsOf('ids', changes));
    assert.equal(here.size, 2);
    for (const start of starts(await promptsOf('ids', changes, 'rate-1'))) assert.ok(!here.has(start));
    for (const prompt of await promptsOf('ids', changes)) assert.equal(idsOf(prompt).length, 52);
  });

  it('draws pictures new, or from a pool', () => {
    const names = (changes: Partial<WorkloadOptions>) =>
      new Set(draw({ pictures: 2, ...changes }).flatMap(({ turns }) => turns[0]!.pictures));
    assert.equal(names({}).size, 60);
    assert.equal(names({ picturePool: 3 }).size, 3);
  });
});

describe('prompts', () => {
  it('put pictures before what is asked, and keep their tokens apart', async () => {
    const [ids] = await promptsOf('ids', { pictures: 2, prefixLength: 4 });
    assert.ok(ids?.kind === 'ids');
    assert.equal(ids.ids[4], 999);
    assert.notEqual(ids.ids[5], 999);
    assert.equal(ids.ids[6], 999);
    assert.deepEqual(ids.ids.filter((id) => id === 999).length, 2);
    assert.equal(ids.pictures.length, 2);
    assert.notDeepEqual(ids.pictures[0]!.bytes, ids.pictures[1]!.bytes);
    assert.deepEqual([...ids.pictures[0]!.bytes.subarray(0, 2)], [0xff, 0xd8]);
    const [chat] = await promptsOf('messages', { pictures: 1, prefixLength: 4 });
    assert.ok(chat?.kind === 'messages');
    assert.deepEqual(
      chat.messages[0]!.parts.map(({ kind }) => kind),
      ['text', 'picture', 'text'],
    );
  });

  for (const [name, tokenize] of [
    ['one token a word', byWords],
    ['some tokens a word', byPairs],
  ] as const) {
    it(`of text have exactly the tokens asked for, the template's among them: ${name}`, async () => {
      const maker = await makerOf('messages', tokenize);
      assert.ok(maker.isExact);
      for (const conversation of draw({
        rangeRatio: 0.3,
        inputLength: 90,
        prefixLength: 25,
        numPrefixes: 2,
      })) {
        const { prompt, promptTokens } = (await maker.prepare(conversation)).turns[0]!;
        assert.ok(prompt.kind === 'messages');
        const text = prompt.messages[0]!.parts.map((part) => (part.kind === 'text' ? part.text : '')).join(
          '',
        );
        assert.equal((await tokenize(text, true))!.length, promptTokens);
      }
    });
  }

  it('too short for the template are refused, with its length', async () => {
    const maker = await makerOf('messages');
    await assert.rejects(
      maker.prepare(draw({ inputLength: 7 })[0]!),
      /--input-len: 7 .* template alone takes 7/,
    );
  });

  it('have a word a token where nobody counts, and say so', async () => {
    const maker = await makerOf('messages', async () => null);
    assert.ok(!maker.isExact);
    const { prompt, promptTokens } = (await maker.prepare(draw()[0]!)).turns[0]!;
    assert.equal(promptTokens, null);
    assert.ok(prompt.kind === 'messages' && prompt.messages[0]!.parts[0]!.kind === 'text');
    assert.equal(prompt.messages[0]!.parts[0]!.text.split(' ').length, 40);
  });

  it('of ids come from ordinary words where the vocabulary is unknown, and are refused without any', async () => {
    const pictures = new PictureMaker({ seed: 1, width: 8, height: 8 });
    const options = {
      seed: 1,
      form: 'ids' as const,
      served: { vocabSize: null, pictureTokenId: null },
      pictures,
    };
    const maker = await PromptMaker.create({ ...options, tokenize: async () => [11, 12, 13, 11] });
    const { prompt } = (await maker.prepare(draw()[0]!)).turns[0]!;
    assert.deepEqual([...new Set(idsOf(prompt))].sort(), [11, 12, 13]);
    await assert.rejects(PromptMaker.create({ ...options, tokenize: async () => null }), /--prompts ids/);
    await assert.rejects(maker.prepare(draw({ pictures: 1 })[0]!), /--pictures: the server names no token/);
  });

  it('go on with the answer and what is asked next', () => {
    const end = { usage: null, tokenIds: [7, 8], text: 'said' };
    const ids = (...list: number[]): Prompt => ({ kind: 'ids', ids: Uint32Array.from(list), pictures: [] });
    assert.deepEqual(idsOf(continuePrompt(ids(1, 2), end, ids(3))), [1, 2, 7, 8, 3]);
    const user = (text: string): Prompt => ({
      kind: 'messages',
      messages: [{ role: 'user', parts: [{ kind: 'text', text }] }],
    });
    const chat = continuePrompt(user('a'), end, user('b'));
    assert.ok(chat.kind === 'messages');
    assert.deepEqual(
      chat.messages.map(({ role, parts }) => [role, parts[0]!.kind === 'text' ? parts[0]!.text : '']),
      [
        ['user', 'a'],
        ['assistant', 'said'],
        ['user', 'b'],
      ],
    );
  });
});

describe('text that must fit', () => {
  it('fits from one token up, and comes as close as it can where no text does', async () => {
    for (const wanted of [1, 2, 3, 10, 57, 300]) {
      const count = async (text: string) => (await byPairs(text, false))!.length;
      const { text, tokens } = await fitText(wanted, new Random(1, wanted), count);
      assert.equal(tokens, wanted);
      assert.equal(await count(text), wanted);
    }
    const even = await fitText(9, new Random(1), async (text) => 2 * (await byWords(text, false))!.length);
    assert.equal(even.tokens, 8);
  });
});

describe('a trace', () => {
  const LINES = [
    '{"timestamp": 1500, "input_length": 20, "output_length": 3, "hash_ids": [7, 8, 9]}',
    '',
    '{"timestamp": 500, "input_length": 25, "output_length": 4, "hash_ids": [7, 8]}',
    '{"timestamp": 900, "prompt": "why?", "output_tokens": 5}',
  ].join('\n');

  it('comes in the order of its times, the first at 0, faster where that is asked for', () => {
    const trace = parseTrace(LINES, 't');
    const options = { speed: 2, blockSize: 10, outputLength: 99 };
    assert.deepEqual(
      traceConversations(trace, options, null).map(({ atMs, turns }) => [atMs, turns[0]!.outputTokens]),
      [
        [0, 4],
        [200, 5],
        [500, 3],
      ],
    );
    assert.deepEqual(
      traceConversations(trace, options, [0, 1, 2]).map(({ atMs }) => atMs),
      [0, 1, 2],
    );
  });

  it('shares blocks with equal hashes, cut where the prompt ends; the rest is its own', async () => {
    const conversations = traceConversations(
      parseTrace(LINES, 't'),
      { speed: 1, blockSize: 10, outputLength: 9 },
      null,
    );
    const maker = await makerOf('ids');
    const [first, , last] = conversations;
    const early = idsOf((await maker.prepare(first!)).turns[0]!.prompt);
    const late = idsOf((await maker.prepare(last!)).turns[0]!.prompt);
    assert.deepEqual([early.length, late.length], [25, 20]);
    assert.deepEqual(early.slice(0, 20), late);
    await assert.rejects(maker.prepare(conversations[1]!), /need --prompts text/);
  });

  it('is refused with file and line', () => {
    const wrong: [string, RegExp][] = [
      ['{', /t: line 1: no JSON/],
      ['[]', /line 1: an object/],
      ['{"timestamp": -1, "input_length": 1}', /timestamp/],
      ['{"input_length": 0}', /input_length must be an integer/],
      ['{"input_length": 1.5}', /input_length must be an integer/],
      ['{"input_length": 4, "prompt": "x"}', /not both/],
      ['{}', /must be given/],
      ['{"prompt": ""}', /prompt must be/],
      ['{"input_length": 4, "hash_ids": [{}]}', /hash_ids/],
      ['{"input_length": 4, "output_length": "5"}', /output_length/],
      ['\n\n', /no lines/],
      ['{"input_length": 4}\n{"timestamp": 1, "input_length": 4}', /1 of 2 lines have a timestamp/],
    ];
    for (const [text, pattern] of wrong)
      assert.throws(() => parseTrace(text, 't'), { code: 'INVALID_REQUEST', message: pattern }, text);
  });
});
