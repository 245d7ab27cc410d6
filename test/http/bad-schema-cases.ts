// Schemas, patterns and tools that cannot be had, over both APIs.
import { chat, type Case } from './bad-input-forms.js';

const TOOL = { type: 'function', function: { name: 'a' } };

function schemaCase(what: string, schema: unknown): Case {
  return {
    what,
    expected: 'INVALID_REQUEST',
    http: chat('x', { response_format: { type: 'json_schema', json_schema: { name: 'a', schema } } }),
    grpc: { text: 'x', responseFormat: { jsonSchema: { schemaJson: JSON.stringify(schema) } } },
  };
}

export const SCHEMA_CASES: readonly Case[] = [
  {
    what: 'a schema without a name',
    expected: 'INVALID_REQUEST',
    http: chat('x', { response_format: { type: 'json_schema', json_schema: {} } }),
  },
  schemaCase('a schema of 10 MB', { enum: Array.from({ length: 20 }, () => 'x'.repeat(500_000)) }),
  schemaCase('a schema that is no schema', { type: 'strin' }),
  schemaCase('a schema with a loop of references', { $ref: '#' }),
  schemaCase('a schema that refers to another file', { $ref: 'file:///etc/passwd' }),
  schemaCase('a schema that no JSON fits', { anyOf: [false] }),
  schemaCase('a schema without end', { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }),
  schemaCase('a pattern that is none', { type: 'string', pattern: '(' }),
  schemaCase('a pattern repeated a million times', { type: 'string', pattern: '((a{100}){100}){100}' }),
  schemaCase('a pattern that nothing fits', { type: 'string', pattern: '[^\\s\\S]' }),
  schemaCase('a character a million times', { type: 'string', pattern: 'a{1000000}' }),
  schemaCase('a pattern that looks back', { type: 'string', pattern: '(a)\\1' }),
  schemaCase('a schema with a keyword that is not held to', { not: { type: 'null' } }),
  {
    what: 'a schema that is no JSON',
    expected: 'INVALID_REQUEST',
    grpc: { text: 'x', responseFormat: { jsonSchema: { schemaJson: '{' } } },
  },
  {
    what: 'a tool twice',
    expected: 'INVALID_REQUEST',
    http: chat('x', { tools: [TOOL, TOOL] }),
    grpc: { text: 'x', tools: [{ name: 'a' }, { name: 'a' }] },
  },
  {
    what: 'a call of a tool that is not there',
    expected: 'INVALID_REQUEST',
    http: chat('x', { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'b' } } }),
    grpc: { text: 'x', tools: [{ name: 'a' }], toolChoice: { name: 'b' } },
  },
  {
    what: '200 tools',
    expected: 'INVALID_REQUEST',
    grpc: { text: 'x', tools: Array.from({ length: 200 }, (_, index) => ({ name: `t${index}` })) },
  },
];
