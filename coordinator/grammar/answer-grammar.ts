// What a whole answer must be, as a structural tag of xgrammar's: the reasoning first, where the answer begins in it,
// and then JSON, or tool calls as Qwen2.5 and Hermes write them.
import { createHash } from 'node:crypto';
import type { AnswerShape, ToolSpec } from '../requests/request-spec.js';
import { THINK_END } from '../tokenizer/reasoning-splitter.js';
import { TOOL_END, TOOL_START } from '../tokenizer/tool-call-splitter.js';
import type { Grammar } from './grammar-host.js';

type Format = { readonly type: string; readonly [field: string]: unknown };

/** Null: whatever the model writes will do. */
export function toAnswerGrammar(shape: AnswerShape, startsInReasoning: boolean): Grammar | null {
  const format = answerFormat(shape);
  if (format === null) return null;
  const elements = startsInReasoning ? [...REASONING, format] : [format];
  const whole = elements.length === 1 ? format : { type: 'sequence', elements };
  const source = JSON.stringify({ type: 'structural_tag', format: whole });
  const bounds = shape.json?.bounds;
  const counted = bounds === undefined ? {} : { bounds, start: startsInReasoning ? THINK_END : '' };
  const key = createHash('sha256')
    .update(JSON.stringify([source, counted]))
    .digest('base64');
  return { key, source, ...counted };
}

/** The answer does not end inside its reasoning. */
const REASONING: readonly Format[] = [
  { type: 'tag', begin: '', content: { type: 'any_text' }, end: THINK_END },
  { type: 'regex', pattern: '\\n{0,2}' },
];

function answerFormat({ json, tools }: AnswerShape): Format | null {
  const answer = json === null ? null : { type: 'grammar', grammar: json.grammar };
  if (tools === null) return answer;
  const { choice, isParallel } = tools;
  if (choice !== 'auto') return calls(tools.functions, choice === 'one' || !isParallel);
  if (answer !== null) return { type: 'or', elements: [answer, calls(tools.functions, !isParallel)] };
  // What is not strict is left to the model: its sequence need not wait for masks.
  if (!tools.functions.some(({ isStrict }) => isStrict)) return null;
  return {
    type: 'triggered_tags',
    triggers: [TOOL_START],
    tags: tools.functions.map(toTag),
    stop_after_first: !isParallel,
  };
}

function calls(functions: readonly ToolSpec[], isOne: boolean): Format {
  return {
    type: 'tags_with_separator',
    tags: functions.map(toTag),
    separator: '\n',
    at_least_one: true,
    stop_after_first: isOne,
  };
}

function toTag({ name, grammar }: ToolSpec): Format {
  return {
    type: 'tag',
    begin: `${TOOL_START}\n{"name": ${JSON.stringify(name)}, "arguments": `,
    content: { type: 'grammar', grammar },
    end: `}\n${TOOL_END}`,
  };
}
