// Goal: whatever a model writes under a schema's masks parses and fits the schema. The model is chance, over a small
// vocabulary that cuts characters and JSON in awkward places; who judges is another library's reading of the schema.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import Schema from 'typebox/schema';
import { AppError } from '../../../../common/errors.js';
import { toAnswerGrammar } from '../../../../coordinator/grammar/answer-grammar.js';
import { GrammarHost } from '../../../../coordinator/grammar/grammar-host.js';
import { schemaToGrammar } from '../../../../coordinator/grammar/schema-grammar.js';
import { toByteLetters } from '../../../../coordinator/tokenizer/vocabulary.js';
import { allowedIds, SMALL_VOCABULARY, writeAtRandom } from '../../../support/random-writer.js';

const OPTIONS = { param: 'schema', isStrict: false };

type Schema = Record<string, unknown> | true;

const name = fc.constantFrom('a', 'b', 'long name', 'é"\\\n😀', '');
const scalars = fc.constantFrom<unknown>(null, true, 'x', 'a"b\\c', -3, 0.5, 12345, [1, 'é'], { k: [] });

const { schema: schemas } = fc.letrec<{ schema: Schema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Schema>({ type: 'null' }, { type: 'boolean' }, { type: 'integer' }, { type: 'number' }),
    fc.array(scalars, { minLength: 1, maxLength: 4 }).map((values): Schema => ({ enum: values })),
    scalars.map((value): Schema => ({ const: value })),
    bounds(-2000, 2000).map(([minimum, maximum]): Schema => ({ type: 'integer', minimum, maximum })),
    fc
      .record({ low: decimal(), high: decimal(), isOpen: fc.boolean() })
      .filter(({ low, high }) => low !== high)
      .map(({ low, high, isOpen }): Schema => {
        const [min, max] = low < high ? [low, high] : [high, low];
        return isOpen
          ? { type: 'number', exclusiveMinimum: min, exclusiveMaximum: max }
          : { type: 'number', minimum: min, maximum: max };
      }),
    bounds(0, 6).map(([minLength, maxLength]): Schema => ({ type: 'string', minLength, maxLength })),
    fc
      .constantFrom(
        '^[a-c]{2,3}$',
        '^(x|yz)+-\\d?$',
        '^[^a]{1,3}$',
        '^.{2}\\.\\w*$',
        '^"\\\\$',
        '^\\S{1,2}\\s?$',
        '^$|^é+$',
      )
      .map((pattern): Schema => ({ type: 'string', pattern })),
    fc
      .record({ items: tie('schema'), range: bounds(0, 3) })
      .map(({ items, range: [minItems, maxItems] }): Schema => ({
        type: 'array',
        items,
        minItems,
        maxItems,
      })),
    fc
      .array(tie('schema'), { minLength: 1, maxLength: 3 })
      .map((prefixItems): Schema => ({ type: 'array', prefixItems, items: false })),
    fc
      .record({
        properties: fc.dictionary(name, tie('schema'), { maxKeys: 4 }),
        required: fc.array(fc.nat()),
      })
      .map(({ properties, required }): Schema => {
        const names = Object.keys(properties);
        const needed = names.filter((_, index) => required.includes(index));
        return { type: 'object', properties, required: needed, additionalProperties: false };
      }),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf): Schema => ({ anyOf })),
  ),
}));

function bounds(min: number, max: number): fc.Arbitrary<[number, number]> {
  return fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
    .map(([one, other]) => (one < other ? [one, other] : [other, one]));
}

function decimal(): fc.Arbitrary<number> {
  return fc
    .tuple(fc.integer({ min: -50_000, max: 50_000 }), fc.integer({ min: 0, max: 4 }))
    .map(([digits, places]) => digits / 10 ** places);
}

function refusal(schema: unknown, isStrict = false): string {
  try {
    schemaToGrammar(schema, { param: 'schema', isStrict });
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'INVALID_REQUEST', String(error));
    assert.equal(error.details['param'], 'schema');
    return error.message;
  }
  return 'taken';
}

describe('the grammar of a schema', function () {
  this.timeout(120_000);
  let host: GrammarHost;
  let numSessions = 0;

  before(async () => {
    host = await GrammarHost.create(SMALL_VOCABULARY);
  });

  async function write(
    schema: unknown,
    random: () => number,
    startsInReasoning = false,
  ): Promise<string | null> {
    const grammar = schemaToGrammar(schema, OPTIONS);
    const shape = { json: { grammar }, tools: null, param: 'schema' };
    numSessions += 1;
    return writeAtRandom(host, numSessions, toAnswerGrammar(shape, startsInReasoning)!, random);
  }

  it('lets nothing pass that does not parse and fit, and comes to an end', async () => {
    let numWhole = 0;
    await fc.assert(
      fc.asyncProperty(
        schemas,
        fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
        async (schema, stream) => {
          const text = await write(schema, () => stream.next().value as number);
          if (text === null) return;
          numWhole += 1;
          const value: unknown = JSON.parse(text);
          assert.ok(
            Schema.Compile(schema as never).Check(value),
            `${text} does not fit ${JSON.stringify(schema)}`,
          );
        },
      ),
      { numRuns: 400 },
    );
    assert.ok(numWhole > 300, `${numWhole} answers came to an end`);
  });

  it('takes every value that fits, however it is spelt', async () => {
    const schema = {
      type: 'object',
      properties: {
        s: { type: 'string' },
        n: { type: 'number', minimum: 0, maximum: 1 },
        l: { type: 'array' },
      },
      required: ['s'],
    };
    const grammar = toAnswerGrammar(
      { json: { grammar: schemaToGrammar(schema, OPTIONS) }, tools: null, param: 'x' },
      false,
    )!;
    const texts = [
      '{"s":"é\\u00e9\\n\\"😀"}',
      '{ "s" : "", "n" : 0.25, "l":[1,{"a":[]}] }',
      '{"s":"x","n":1}',
      '{"s":"x","l":[]}',
    ];
    for (const text of texts) {
      numSessions += 1;
      const ids = [...Buffer.from(text)];
      const mask = await host.open(
        numSessions,
        grammar,
        { eosTokenIds: [256], stopTokenIds: [256], minTokens: 0 },
        ids,
      );
      assert.ok(allowedIds(mask).includes(256), `${text} is whole`);
      host.close(numSessions);
    }
  });

  it('waits for the end of the reasoning, and holds the rest', async () => {
    let draws = 0;
    const text = await write({ enum: ['yes', 'no'] }, () => (draws += 0.37) % 1, true);
    assert.match(text ?? '"cut"</think>"yes"', /<\/think>\n{0,2}"(yes|no)"$/);
  });

  it('allows the end alone once an answer is whole', async () => {
    const grammar = toAnswerGrammar(
      { json: { grammar: schemaToGrammar({ const: 1 }, OPTIONS) }, tools: null, param: 'x' },
      false,
    )!;
    const options = { eosTokenIds: [256], stopTokenIds: [256], minTokens: 5 };
    const mask = await host.open(-1, grammar, options, [...Buffer.from('1')]);
    assert.deepEqual(allowedIds(mask), [256], 'though fewer than min_tokens are there');
  });

  it('has one rule for all strings of the same bounds, which are what takes long to compile', () => {
    const name = { type: 'string', minLength: 1, maxLength: 9 };
    const code = { type: 'string', maxLength: 9 };
    const properties = { a: name, b: code, c: { type: 'array', items: name }, d: name };
    const grammar = schemaToGrammar({ type: 'object', properties }, OPTIONS);
    assert.deepEqual(
      [...grammar.matchAll(/\{(\d),9\}/g)].map(([, min]) => min),
      ['1', '0'],
    );
  });

  it('refuses by name what it cannot hold to', () => {
    assert.match(
      refusal({ type: 'object', properties: { a: { not: {} } } }),
      /^schema\.properties\.a\.not is not supported/,
    );
    for (const keyword of [
      'if',
      'patternProperties',
      'uniqueItems',
      'contains',
      'multipleOf',
      'minProperties',
    ])
      assert.match(
        refusal({ [keyword]: keyword === 'uniqueItems' ? true : 3 }),
        new RegExp(`schema\\.${keyword} is not`),
      );
    assert.equal(refusal({ type: 'array', uniqueItems: false, title: 'x', whoKnows: 1 }), 'taken');
    assert.match(refusal({ type: 'strin' }), /schema\.type must be null, boolean/);
    assert.match(refusal({ enum: [1], minLength: 3 }), /minLength is not supported beside enum/);
    assert.match(refusal({ type: 'string', pattern: '(?=a)b' }), /schema\.pattern looks ahead/);
    assert.match(refusal({ type: 'string', pattern: '[' }), /schema\.pattern/);
    assert.match(refusal({ type: 'string', pattern: 'a{5000}' }), /more than 1000 times/);
    assert.match(
      refusal({ type: 'string', pattern: '(a{1000}){1000}' }),
      /comes to 1\d{6} parts of a grammar; the limit is 20000/,
    );
    assert.match(refusal({ type: 'string', minLength: 1e9 }), /the limit is 20000/);
    assert.match(
      refusal({ type: 'object', properties: { a: { type: 'string', minLength: 2, maxLength: 131 } } }),
      /^schema\.properties\.a\.maxLength is 129 above minLength.*the limit there is 128$/,
    );
    schemaToGrammar({ type: 'string', minLength: 2, maxLength: 130 }, OPTIONS);
    assert.match(refusal({ type: 'integer', minimum: 3, maximum: 2 }), /no number lies between/);
    assert.match(refusal(false), /is false, which no JSON fits/);
    assert.match(refusal('x'), /is no schema/);
  });

  it('refuses references that lead nowhere, and schemas without end', () => {
    assert.match(refusal({ $ref: '#/$defs/x' }), /\$ref refers to "#\/\$defs\/x", which is not there/);
    assert.match(refusal({ $ref: 'https://example.com/s' }), /outside the schema/);
    assert.match(refusal({ $ref: '#' }), /refers to itself without end/);
    assert.match(
      refusal({
        $ref: '#/$defs/a',
        $defs: { a: { $ref: '#/$defs/b' }, b: { anyOf: [{ $ref: '#/$defs/a' }] } },
      }),
      /without end/,
    );
    const endless = { type: 'object', properties: { next: { $ref: '#' } }, required: ['next'] };
    assert.match(refusal(endless), /fits no JSON of finite length/);
    assert.equal(
      refusal({
        type: 'object',
        properties: { next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
        required: ['next'],
      }),
      'taken',
    );
    let deep: unknown = { type: 'null' };
    for (let depth = 0; depth < 100_000; depth += 1) deep = { items: deep };
    assert.match(refusal(deep), /is nested deeper than \d+, which is the limit/);
    assert.match(
      refusal({ enum: Array.from({ length: 60_000 }, (_, index) => index) }),
      /characters; the limit is/,
    );
    assert.equal(refusal({ enum: Array.from({ length: 10_000 }, (_, index) => index) }), 'taken');
  });

  it('asks of strict schemas what OpenAI asks', () => {
    const open = { type: 'object', properties: { a: { type: 'null' } }, required: ['a'] };
    assert.match(refusal(open, true), /schema\.additionalProperties must be false where strict is true/);
    assert.match(
      refusal({ ...open, required: [], additionalProperties: false }, true),
      /schema\.required must have "a"/,
    );
    assert.equal(refusal({ ...open, additionalProperties: false }, true), 'taken');
  });

  it('spells names and tokens by their bytes', () => {
    assert.equal(toByteLetters(Buffer.from('a é\n')), 'aĠÃ©Ċ');
  });
});
