// What a GenerateRequest asks of the form of its answer: tools and response_format.
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { ResponseFormat__Output } from '../../proto/ts/skein/inference/v1/ResponseFormat.js';
import type { ToolChoice__Output } from '../../proto/ts/skein/inference/v1/ToolChoice.js';
import { parseShape, type ParsedShape, type SchemaInput, type ToolsInput } from './answer-shape.js';
import { invalid } from './request-checks.js';

const MODES = {
  MODE_UNSPECIFIED: 'auto',
  MODE_AUTO: 'auto',
  MODE_NONE: 'none',
  MODE_REQUIRED: 'required',
} as const;

export function parseRequestShape(request: GenerateRequest__Output): ParsedShape {
  return parseShape(parseFormat(request.responseFormat), parseTools(request));
}

function parseJson(text: string, label: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(label, 'is no JSON');
  }
}

function parseFormat(format: ResponseFormat__Output | null): SchemaInput | null {
  const schema = format?.jsonSchema;
  if (schema) {
    const label = 'response_format.json_schema.schema_json';
    return { schema: parseJson(schema.schemaJson, label), isStrict: schema.strict, label };
  }
  return format?.jsonObject ? { schema: undefined, isStrict: false, label: 'response_format' } : null;
}

function parseTools({ tools, toolChoice, parallelToolCalls }: GenerateRequest__Output): ToolsInput | null {
  const choice = parseChoice(toolChoice);
  if (tools.length === 0 && (choice === 'none' || choice === 'auto')) return null;
  const functions = tools.map(({ name, description, parametersJson, strict }, index) => {
    const label = `tools[${index}]`;
    return {
      name,
      description: description === '' ? undefined : description,
      parameters: parametersJson === '' ? undefined : parseJson(parametersJson, `${label}.parameters_json`),
      isStrict: strict,
      label,
    };
  });
  return { functions, choice, isParallel: parallelToolCalls ?? true, choiceLabel: 'tool_choice' };
}

function parseChoice(choice: ToolChoice__Output | null): ToolsInput['choice'] {
  if (choice?.choice === 'name') return { name: choice.name ?? '' };
  return MODES[choice?.mode ?? 'MODE_UNSPECIFIED'];
}
