// Schemas, patterns and tools that cannot be had, over both APIs.
import { chat, type Case } from './bad-input-forms.js';

const TOOL = { type: 'function', function: { name: 'a' } };

function schemaCase(what: string, says: readonly string[], schema: unknown): Case {
  return {
    what,
    expected: 'INVALID_REQUEST',
    says,
    http: chat('x', { response_format: { type: 'json_schema', json_schema: { name: 'a', schema } } }),
    grpc: { text: 'x', responseFormat: { jsonSchema: { schemaJson: JSON.stringify(schema) } } },
  };
}

export const SCHEMA_CASES: readonly Case[] = [
  {
    what: 'a schema without a name',
    expected: 'INVALID_REQUEST',
    says: ['response_format.json_schema.name is missing'],
    http: chat('x', { response_format: { type: 'json_schema', json_schema: {} } }),
  },
  schemaCase('a schema of 10 MB', ['schema', '10000070 characters', 'limit is 131072'], {
    enum: Array.from({ length: 20 }, () => 'x'.repeat(500_000)),
  }),
  schemaCase('a schema that is no schema', ['.type must be null, boolean'], { type: 'strin' }),
  schemaCase('a schema with a loop of references', ['refers to itself without end'], { $ref: '#' }),
  schemaCase('a schema that refers to another file', ['.$ref refers to something outside the schema'], {
    $ref: 'file:///etc/passwd',
  }),
  schemaCase('a schema that no JSON fits', ['.anyOf[0] is false'], { anyOf: [false] }),
  schemaCase('a schema without end', ['fits no JSON of finite length'], {
    type: 'object',
    properties: { a: { $ref: '#' } },
    required: ['a'],
  }),
  schemaCase('a pattern that is none', ['.pattern is no regular expression (Unterminated group)'], {
    type: 'string',
    pattern: '(',
  }),
  schemaCase('a pattern repeated a million times', ['1000002 parts of a grammar', 'limit is 20000'], {
    type: 'string',
    pattern: '((a{100}){100}){100}',
  }),
  schemaCase('a pattern that nothing fits', ['.pattern asks for characters that are not supported'], {
    type: 'string',
    pattern: '[^\\s\\S]',
  }),
  schemaCase('a character a million times', ['.pattern repeats something more than 1000 times'], {
    type: 'string',
    pattern: 'a{1000000}',
  }),
  schemaCase('a pattern that looks back', ['.pattern has the escape'], { type: 'string', pattern: '(a)\\1' }),
  schemaCase('a schema with a keyword that is not held to', ['.not is not supported'], {
    not: { type: 'null' },
  }),
  {
    what: 'a schema that is no JSON',
    expected: 'INVALID_REQUEST',
    says: ['schema_json is no JSON'],
    grpc: { text: 'x', responseFormat: { jsonSchema: { schemaJson: '{' } } },
  },
  {
    what: 'a tool twice',
    expected: 'INVALID_REQUEST',
    says: ['tools[1]', '"a"'],
    http: chat('x', { tools: [TOOL, TOOL] }),
    grpc: { text: 'x', tools: [{ name: 'a' }, { name: 'a' }] },
  },
  {
    what: 'a call of a tool that is not there',
    expected: 'INVALID_REQUEST',
    says: ['tool_choice names "b"'],
    http: chat('x', { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'b' } } }),
    grpc: { text: 'x', tools: [{ name: 'a' }], toolChoice: { name: 'b' } },
  },
  {
    what: '200 tools',
    expected: 'INVALID_REQUEST',
    says: ['tools has 200 entries; the limit is 128'],
    grpc: { text: 'x', tools: Array.from({ length: 200 }, (_, index) => ({ name: `t${index}` })) },
  },
];
