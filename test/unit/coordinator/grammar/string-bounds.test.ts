// Goal: bounds on strings that are counted beside the grammar hold exactly, wherever in a schema they stand: nothing
// passes that is longer, everything passes that is not. Who judges is another library's reading of the schema.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import Schema from 'typebox/schema';
import { parseShape } from '../../../../coordinator/gateway/answer-shape.js';
import { toAnswerGrammar } from '../../../../coordinator/grammar/answer-grammar.js';
import { GrammarHost, type Grammar } from '../../../../coordinator/grammar/grammar-host.js';
import { countedStrings } from '../../../../coordinator/grammar/string-bounds.js';
import { allowedIds, END_ID, SMALL_VOCABULARY, writeAtRandom } from '../../../support/random-writer.js';

/** Tokens of up to 70 characters, across the ends of strings too. */
const LONG_PIECES = [
  'ab'.repeat(30),
  '😀é'.repeat(6),
  'x'.repeat(70),
  'a\\n\\"b"',
  'yyyy","',
  `"${'z'.repeat(70)}`,
];
const VOCABULARY = {
  ...SMALL_VOCABULARY,
  tokens: [...SMALL_VOCABULARY.tokens, ...LONG_PIECES.map((piece) => Buffer.from(piece))],
};
const OPTIONS = { eosTokenIds: [END_ID], stopTokenIds: [END_ID], minTokens: 0 };

const text = (maxLength: number, minLength = 0): object => ({ type: 'string', minLength, maxLength });
const object = (properties: Record<string, unknown>): object => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});

const leaf = fc
  .record({ max: fc.integer({ min: 17, max: 120 }), min: fc.integer({ min: 0, max: 3 }) })
  .map(({ max, min }) => text(max, min));
const schemas = fc.oneof(
  leaf,
  leaf.map((one) => ({ ...one, type: ['string', 'null'] })),
  fc.tuple(leaf, leaf).map(([one, other]) => object({ a: one, 'é"\n': other })),
  leaf.map((one) => ({ type: 'array', items: one, minItems: 1, maxItems: 3 })),
  fc.tuple(leaf, leaf).map((prefixItems) => ({ type: 'array', prefixItems, items: false })),
  leaf.map((one) => ({ type: 'object', additionalProperties: one })),
  leaf.map((one) => ({
    ...object({ a: { $ref: '#/$defs/s' }, b: { $ref: '#/$defs/s' } }),
    $defs: { s: one },
  })),
  leaf.map((one) => ({
    anyOf: [object({ a: one }), object({ a: { enum: ['x', 'é'] }, b: { type: 'integer' } })],
  })),
  fc
    .tuple(leaf, leaf)
    .map(([one, other]) => ({ oneOf: [object({ a: one, k: { const: 1 } }), object({ a: other })] })),
);

describe('bounds on strings beside a grammar', function () {
  this.timeout(240_000);
  let host: GrammarHost;
  let numSessions = 0;

  before(async () => {
    host = await GrammarHost.create(VOCABULARY);
  });

  function grammarOf(schema: unknown, startsInReasoning = false): Grammar {
    const { shape } = parseShape({ schema, isStrict: false, label: 'schema' }, null);
    return toAnswerGrammar(shape!, startsInReasoning)!;
  }

  /** Whether `json` is a whole answer, given byte by byte; null: one of the bytes is masked. */
  async function takes(grammar: Grammar, json: string): Promise<boolean> {
    numSessions += 1;
    let mask = await host.open(numSessions, grammar, OPTIONS, []);
    for (const byte of Buffer.from(json)) {
      if (!allowedIds(mask).includes(byte)) return false;
      mask = await host.accept(numSessions, [byte]);
    }
    host.close(numSessions);
    return allowedIds(mask).includes(END_ID);
  }

  it('lets nothing pass that is too long, and comes to an end', async () => {
    let numWhole = 0;
    let numFull = 0;
    await fc.assert(
      fc.asyncProperty(
        schemas,
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (schema, stream) => {
          numSessions += 1;
          const json = await writeAtRandom(
            host,
            numSessions,
            grammarOf(schema),
            () => stream.next().value as number,
            VOCABULARY.tokens,
          );
          if (json === null) return;
          numWhole += 1;
          assert.ok(
            Schema.Compile(schema as never).Check(JSON.parse(json)),
            `${json}: ${JSON.stringify(schema)}`,
          );
          if (/"[^"]{60,}"/.test(json)) numFull += 1;
        },
      ),
      { numRuns: 200 },
    );
    assert.ok(numWhole > 50, `${numWhole} answers came to an end`);
    assert.ok(numFull > 10, `${numFull} answers came near a bound`);
  });

  it('counts code points, escapes as one, and takes exactly as many', async () => {
    const grammar = grammarOf(object({ a: text(500), b: { type: 'array', items: text(100) } }));
    assert.notEqual(grammar.counted, undefined);
    const long = (count: number): string => '😀\\né\\"x'.repeat(count / 5);
    assert.ok(await takes(grammar, `{"a":"${long(500)}","b":["${long(100)}","${long(100)}"]}`));
    assert.ok(!(await takes(grammar, `{"a":"${long(505)}","b":[]}`)));
    assert.ok(!(await takes(grammar, `{"a":"${long(500)}","b":["","${long(105)}"]}`)));
  });

  it('allows tokens up to the bound and across the end of a string, and no further', async () => {
    const grammar = grammarOf(object({ a: text(200), b: text(200) }));
    const ids = LONG_PIECES.map((_, index) => SMALL_VOCABULARY.tokens.length + index);
    const allowedBehind = async (numChars: number): Promise<boolean[]> => {
      numSessions += 1;
      const mask = await host.open(numSessions, grammar, OPTIONS, [
        ...Buffer.from(`{"a":"${'x'.repeat(numChars)}`),
      ]);
      host.close(numSessions);
      const allowed = allowedIds(mask);
      return ids.map((id) => allowed.includes(id));
    };
    assert.deepEqual((await allowedBehind(130)).slice(0, 3), [true, true, true]);
    assert.deepEqual((await allowedBehind(131)).slice(0, 3), [true, true, false]);
    assert.deepEqual((await allowedBehind(141)).slice(0, 3), [false, true, false]);
    assert.deepEqual((await allowedBehind(189)).slice(0, 3), [false, false, false]);
    numSessions += 1;
    const full = await host.open(numSessions, grammar, OPTIONS, [...Buffer.from(`{"a":"${'x'.repeat(200)}`)]);
    const first = new Set(allowedIds(full).map((id) => VOCABULARY.tokens[id]![0]));
    assert.deepEqual([...first], [0x22], 'the quote alone, and what begins with it');
  });

  it('begins to count behind the reasoning', async () => {
    const grammar = grammarOf(text(70), true);
    const reasoning = `{"${'x'.repeat(200)}</think>\n\n`;
    assert.ok(await takes(grammar, `${reasoning}"${'y'.repeat(70)}"`));
    assert.ok(!(await takes(grammar, `${reasoning}"${'y'.repeat(71)}"`)));
  });

  describe('of tools', () => {
    const functions = [
      { name: 'find', parameters: object({ q: text(500) }), isStrict: true, label: 'tools[0].function' },
      { name: 'note', parameters: object({ t: text(20) }), isStrict: false, label: 'tools[1].function' },
    ];
    const call = (name: string, args: object): string =>
      `<tool_call>\n${JSON.stringify({ name }).slice(0, -1).replace(':', ': ')}, "arguments": ${JSON.stringify(args)}}\n</tool_call>`;
    const find = (count: number): string => call('find', { q: 'é'.repeat(count) });
    const note = (count: number): string => call('note', { t: 'é'.repeat(count) });

    function toolGrammar(
      choice: 'auto' | 'required',
      schema: object | null = null,
      startsInReasoning = false,
    ): Grammar {
      const json = schema === null ? null : { schema, isStrict: false, label: 'schema' };
      const tools = { functions, choice, isParallel: true, choiceLabel: 'tool_choice' } as const;
      return toAnswerGrammar(parseShape(json, tools).shape!, startsInReasoning)!;
    }

    it('are counted in each call, by the function that is called', async () => {
      const grammar = toolGrammar('required');
      assert.ok(await takes(grammar, find(500)));
      assert.ok(!(await takes(grammar, find(501))));
      assert.ok(await takes(grammar, `${find(500)}\n${note(20)}\n${find(3)}`));
      assert.ok(!(await takes(grammar, `${find(500)}\n${note(21)}`)));
      assert.ok(!(await takes(grammar, `${note(20)}\n${find(501)}`)));
    });

    it('are counted behind text, where the model calls as it likes', async () => {
      const grammar = toolGrammar('auto');
      const said = 'I "look" for <tool: {"q": "';
      assert.ok(await takes(grammar, `${said}${'x'.repeat(600)}${find(500)}`));
      assert.ok(!(await takes(grammar, `${said}${find(501)}`)));
      assert.ok(await takes(grammar, `${said}${'y'.repeat(600)}`), 'text has no bound');
    });

    it('are counted beside an answer that is JSON', async () => {
      const grammar = toolGrammar('auto', object({ a: text(30) }));
      assert.ok(await takes(grammar, `{"a":"${'x'.repeat(30)}"}`));
      assert.ok(!(await takes(grammar, `{"a":"${'x'.repeat(31)}"}`)));
      assert.ok(await takes(grammar, find(500)));
      assert.ok(!(await takes(grammar, find(501))));
    });

    it('begin behind the reasoning, whatever that holds', async () => {
      const grammar = toolGrammar('required', null, true);
      const reasoning = `${find(400).slice(0, -14)}${'x'.repeat(200)}</think>\n\n`;
      assert.ok(await takes(grammar, `${reasoning}${find(500)}`));
      assert.ok(!(await takes(grammar, `${reasoning}${find(501)}`)));
    });

    it('are held to across tokens that end the beginning of a call', async () => {
      const begun = find(0).slice(0, -'"}}\n</tool_call>'.length - 6);
      const piece = `": {"q":"${'z'.repeat(70)}`;
      const tokens = [...VOCABULARY.tokens, Buffer.from(piece)];
      const own = await GrammarHost.create({ ...VOCABULARY, tokens });
      const mask = await own.open(1, toolGrammar('required'), OPTIONS, [...Buffer.from(begun)]);
      assert.ok(!allowedIds(mask).includes(tokens.length - 1), begun);
      own.close(1);
    });
  });

  it('leaves a bound to the grammar where another schema of the same place has none or a longer one', () => {
    const short = text(100);
    const longer = text(300);
    const union = { anyOf: [object({ a: short }), object({ a: longer, b: { const: 1 } })] };
    assert.deepEqual([...countedStrings(union).schemas], [longer]);
    assert.deepEqual([...countedStrings({ anyOf: [short, { type: 'string' }] }).schemas], []);
    assert.deepEqual([...countedStrings({ anyOf: [object({ a: short }), true] }).schemas], []);
    const recursive = object({ a: short, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } });
    assert.deepEqual([...countedStrings(recursive).schemas], [short]);
  });
});
