// `response_format`, `tools`, `tool_choice` and `parallel_tool_calls` of OpenAI's API.
import {
  checkName,
  parseShape,
  type FunctionInput,
  type ParsedShape,
  type SchemaInput,
  type ToolsInput,
} from '../answer-shape.js';
import { invalid } from '../request-checks.js';
import type { ChatBody } from './request-schemas.js';

type Fields = Readonly<Record<string, unknown>>;

export function parseChatShape(body: ChatBody): ParsedShape {
  return parseShape(parseResponseFormat(body.response_format), parseToolFields(body));
}

/** Of a prompt alone. */
export function parseTools(tools: ChatBody['tools']): ParsedShape {
  return parseShape(null, parseToolFields(tools === undefined ? {} : { tools }));
}

function fieldsOf(value: unknown, label: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(label, 'must be an object');
}

function text(value: unknown, label: string): string {
  if (typeof value === 'string') return value;
  throw invalid(label, value === undefined ? 'is missing' : 'must be a string');
}

/** Null counts as absent, as everywhere. */
function optional(value: unknown): unknown {
  return value === null ? undefined : value;
}

function flag(value: unknown, label: string): boolean {
  const given = optional(value) ?? false;
  if (typeof given === 'boolean') return given;
  throw invalid(label, 'must be true or false');
}

function parseResponseFormat(value: unknown): SchemaInput | null {
  if (value === undefined) return null;
  const label = 'response_format';
  const { type, json_schema: given } = fieldsOf(value, label);
  switch (text(type, `${label}.type`)) {
    case 'text':
      return null;
    case 'json_object':
      return { schema: undefined, isStrict: false, label };
    case 'json_schema': {
      const own = `${label}.json_schema`;
      if (optional(given) === undefined) throw invalid(own, 'is missing');
      const { name, description, schema, strict } = fieldsOf(given, own);
      checkName(text(name, `${own}.name`), `${own}.name`);
      if (optional(description) !== undefined) text(description, `${own}.description`);
      // Without a schema any object will do.
      return { schema: optional(schema), isStrict: flag(strict, `${own}.strict`), label: `${own}.schema` };
    }
    default:
      throw invalid(`${label}.type`, 'must be text, json_object or json_schema');
  }
}

function parseToolFields({
  tools,
  tool_choice: choice,
  parallel_tool_calls: isParallel = true,
}: Pick<ChatBody, 'tools' | 'tool_choice' | 'parallel_tool_calls'>): ToolsInput | null {
  if (tools === undefined || tools.length === 0) {
    if (choice === undefined || choice === 'none' || choice === 'auto') return null;
    throw invalid('tool_choice', 'asks for a call, and there are no tools');
  }
  return {
    functions: tools.map((tool, index) => parseTool(tool, `tools[${index}]`)),
    choice: parseChoice(choice),
    isParallel,
    choiceLabel: 'tool_choice',
  };
}

function parseTool(value: unknown, label: string): FunctionInput {
  const { type, function: given } = fieldsOf(value, label);
  if (type !== 'function') throw invalid(`${label}.type`, 'must be function');
  const own = `${label}.function`;
  const { name, description, parameters, strict } = fieldsOf(given, own);
  return {
    name: text(name, `${own}.name`),
    description: optional(description) === undefined ? undefined : text(description, `${own}.description`),
    parameters: optional(parameters),
    isStrict: flag(strict, `${own}.strict`),
    label: own,
  };
}

function parseChoice(value: unknown): ToolsInput['choice'] {
  if (value === undefined) return 'auto';
  if (value === 'none' || value === 'auto' || value === 'required') return value;
  if (typeof value === 'string')
    throw invalid('tool_choice', 'must be none, auto, required, or name a function');
  const { type, function: given } = fieldsOf(value, 'tool_choice');
  if (type !== 'function') throw invalid('tool_choice.type', 'must be function');
  return { name: text(fieldsOf(given, 'tool_choice.function')['name'], 'tool_choice.function.name') };
}
