// What a whole answer must be, as a structural tag of xgrammar's: the reasoning first, where the answer begins in it,
// and then JSON, or tool calls as Qwen2.5 and Hermes write them.
import { createHash } from 'node:crypto';
import type { AnswerShape, ToolSpec } from '../requests/request-spec.js';
import { THINK_END } from '../tokenizer/reasoning-splitter.js';
import { TOOL_END, TOOL_START } from '../tokenizer/tool-call-splitter.js';
import { literal, renamed } from './ebnf.js';
import type { CountedParts } from './bound-counter.js';
import type { Grammar } from './grammar-host.js';

const CALL_END = `}\n${TOOL_END}`;
const CALL_SEPARATOR = '\n';

type Format = { readonly type: string; readonly [field: string]: unknown };

/** Null: whatever the model writes will do. */
export function toAnswerGrammar(shape: AnswerShape, startsInReasoning: boolean): Grammar | null {
  const format = answerFormat(shape);
  if (format === null) return null;
  const elements = startsInReasoning ? [...REASONING, format] : [format];
  const whole = elements.length === 1 ? format : { type: 'sequence', elements };
  const source = JSON.stringify({ type: 'structural_tag', format: whole });
  const counted = countedParts(shape, startsInReasoning);
  const key = createHash('sha256')
    .update(JSON.stringify([source, counted]))
    .digest('base64');
  return { key, source, ...(counted === null ? {} : { counted }) };
}

/** Null: no string is counted beside the grammar. */
function countedParts({ json, tools }: AnswerShape, startsInReasoning: boolean): CountedParts | null {
  const functions = (tools?.functions ?? []).flatMap(({ name, bounds }) =>
    bounds === undefined ? [] : [{ start: callStart(name), bounds }],
  );
  const answer = json?.bounds ?? null;
  if (functions.length === 0 && answer === null) return null;
  return { after: startsInReasoning ? THINK_END : '', answer, functions };
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
  if (json !== null) return answerOrCalls(json.grammar, tools.functions, !isParallel);
  // What is not strict is left to the model: its sequence need not wait for masks.
  if (!tools.functions.some(({ isStrict }) => isStrict)) return null;
  return {
    type: 'triggered_tags',
    triggers: [TOOL_START],
    tags: tools.functions.map(toTag),
    stop_after_first: !isParallel,
  };
}

/** In one grammar: of the library's formats, none that repeats may stand beside another. */
function answerOrCalls(answer: string, functions: readonly ToolSpec[], isOne: boolean): Format {
  const all = functions.map(({ name, grammar }, index) => ({
    rules: renamed(grammar, `f${index}_`),
    call: `${literal(callStart(name))} f${index}_root ${literal(CALL_END)}`,
  }));
  const rules = [
    renamed(answer, 'a_'),
    ...all.map((each) => each.rules),
    `call ::= ${all.map(({ call }) => call).join(' | ')}\n`,
    `root ::= a_root | call${isOne ? '' : ` (${literal(CALL_SEPARATOR)} call)*`}\n`,
  ];
  return { type: 'grammar', grammar: rules.join('') };
}

function calls(functions: readonly ToolSpec[], isOne: boolean): Format {
  return {
    type: 'tags_with_separator',
    tags: functions.map(toTag),
    separator: CALL_SEPARATOR,
    at_least_one: true,
    stop_after_first: isOne,
  };
}

function toTag({ name, grammar }: ToolSpec): Format {
  return {
    type: 'tag',
    begin: callStart(name),
    content: { type: 'grammar', grammar },
    end: CALL_END,
  };
}

/** A call up to its arguments. */
function callStart(name: string): string {
  return `${TOOL_START}\n{"name": ${JSON.stringify(name)}, "arguments": `;
}
