// What every API may ask of the form of an answer, JSON and tool calls, checked and turned into grammars. Fields are
// named as OpenAI's API has them; an API with other names says how its own begin.
import { AppError } from '../../common/errors.js';
import {
  MAX_TOOL_DESCRIPTION_CHARS,
  MAX_TOOL_NAME_CHARS,
  MAX_TOOLS,
  MAX_TOOLS_CHARS,
} from '../../common/limits.js';
import { countedStrings } from '../grammar/string-bounds.js';
import { checkSchemaSize, schemaToGrammar, type SchemaOptions } from '../grammar/schema-grammar.js';
import type { AnswerShape, PromptTool, ToolSpec, ToolsSpec } from '../requests/request-spec.js';
import { invalid } from './request-checks.js';

const NAME = /^[A-Za-z0-9_-]+$/;
const ANY_OBJECT = { type: 'object' };
const NO_ARGUMENTS = { type: 'object', additionalProperties: false };

export interface FunctionInput {
  readonly name: string;
  readonly description?: string | undefined;
  /** A JSON schema; absent: it takes none. */
  readonly parameters?: unknown;
  readonly isStrict: boolean;
  /** Where it stands in the request. */
  readonly label: string;
}

export interface ToolsInput {
  readonly functions: readonly FunctionInput[];
  /** `name`: exactly that one. */
  readonly choice: 'none' | 'auto' | 'required' | { readonly name: string };
  readonly isParallel: boolean;
  /** Where the choice stands. */
  readonly choiceLabel: string;
}

export interface SchemaInput {
  /** Undefined: any object. */
  readonly schema: unknown;
  readonly isStrict: boolean;
  readonly label: string;
}

export interface ParsedShape {
  /** What the prompt says of tools. */
  readonly tools: readonly PromptTool[];
  readonly shape?: AnswerShape;
}

export function checkName(name: string, label: string): void {
  if (name.length > MAX_TOOL_NAME_CHARS)
    throw invalid(label, `has ${name.length} characters; the limit is ${MAX_TOOL_NAME_CHARS}`);
  if (!NAME.test(name)) throw invalid(label, 'must be letters, digits, "_" and "-"');
}

type JsonShape = NonNullable<AnswerShape['json']>;

/** Throws INVALID_REQUEST that names the field. */
export function parseShape(json: SchemaInput | null, tools: ToolsInput | null): ParsedShape {
  const spec = tools === null ? null : parseTools(tools);
  if (json === null && spec === null) return { tools: [] };
  const shape: AnswerShape = {
    json: json === null ? null : schemaGrammar(json),
    tools: spec,
    param: json === null ? 'tools' : json.label,
  };
  return { tools: spec === null ? [] : tools!.functions.map(toPromptTool), shape };
}

function schemaGrammar({ schema = ANY_OBJECT, isStrict, label }: SchemaInput): JsonShape {
  return countedGrammar(schema, { param: label, isStrict });
}

/** With the bounds on strings that are counted beside it. */
function countedGrammar(schema: unknown, options: Omit<SchemaOptions, 'counted'>): JsonShape {
  checkSchemaSize(schema, options.param);
  const { bounds, schemas: counted } = countedStrings(schema);
  const grammar = schemaToGrammar(schema, { ...options, counted });
  return bounds === null ? { grammar } : { grammar, bounds };
}

/** Null: the model calls none. */
function parseTools({ functions, choice, isParallel, choiceLabel }: ToolsInput): ToolsSpec | null {
  checkFunctions(functions);
  const isNamed = typeof choice === 'object';
  if (isNamed && !functions.some(({ name }) => name === choice.name))
    throw invalid(
      choiceLabel,
      `names "${choice.name.slice(0, MAX_TOOL_NAME_CHARS)}", which is none of the tools`,
    );
  if (functions.length === 0 && choice === 'required')
    throw invalid(choiceLabel, 'asks for a call, and there are no tools');
  const all = functions.map((each) => toToolSpec(each, choice === 'required' || isNamed));
  if (functions.length === 0 || choice === 'none') return null;
  if (isNamed)
    return { functions: all.filter(({ name }) => name === choice.name), choice: 'one', isParallel: false };
  return { functions: all, choice: choice === 'required' ? 'some' : 'auto', isParallel };
}

function checkFunctions(functions: readonly FunctionInput[]): void {
  if (functions.length > MAX_TOOLS)
    throw invalid('tools', `has ${functions.length} entries; the limit is ${MAX_TOOLS}`);
  const names = new Set<string>();
  for (const { name, description = '', parameters = null, label } of functions) {
    checkName(name, `${label}.name`);
    if (names.has(name)) throw invalid(`${label}.name`, `is "${name}", as that of another function`);
    names.add(name);
    const { length } = description;
    if (length > MAX_TOOL_DESCRIPTION_CHARS)
      throw invalid(
        `${label}.description`,
        `has ${length} characters; the limit is ${MAX_TOOL_DESCRIPTION_CHARS}`,
      );
    checkSchemaSize(parameters, `${label}.parameters`);
  }
  const numChars = JSON.stringify(functions).length;
  if (numChars > MAX_TOOLS_CHARS)
    throw invalid('tools', `has ${numChars} characters; the limit is ${MAX_TOOLS_CHARS}`);
}

/** What is not strict is held to its schema as far as that goes, where a call is asked for. */
function toToolSpec({ name, parameters, isStrict, label }: FunctionInput, isCalling: boolean): ToolSpec {
  const options = { param: `${label}.parameters`, isStrict };
  const schema = parameters === undefined ? NO_ARGUMENTS : parameters;
  if (isStrict) return { name, isStrict, ...countedGrammar(schema, options) };
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema))
    throw invalid(options.param, 'must be a JSON schema, an object');
  try {
    if (isCalling) return { name, isStrict, ...countedGrammar(schema, options) };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
  }
  return { name, isStrict, grammar: schemaToGrammar(ANY_OBJECT, options) };
}

function toPromptTool({ name, description, parameters }: FunctionInput): PromptTool {
  return {
    name,
    ...(description === undefined ? {} : { description }),
    parameters: parameters === undefined ? { type: 'object', properties: {} } : parameters,
  };
}
