// Tools for chat templates that know of none: told in the system message, called and answered in text, as Qwen2.5 was
// trained on it (the form of Hermes).
import { toJson } from './jinja/text-of.js';
import { fromJson } from './jinja/values.js';
import type { TemplateMessage, TemplateTool } from './chat-template.js';
import { TOOL_END, TOOL_START } from './tool-call-splitter.js';

const INTRODUCTION = `# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>`;
const HOW_TO_CALL = `
</tools>

For each function call, return a json object with function name and arguments within ${TOOL_START}${TOOL_END} XML tags:
${TOOL_START}
{"name": <function-name>, "arguments": <args-json-object>}
${TOOL_END}`;

/** As Python's json.dumps writes it, which is what models are trained on. */
function json(value: unknown): string {
  return toJson(fromJson(value), {
    ensureAscii: false,
    indent: null,
    itemSeparator: ', ',
    keySeparator: ': ',
    sortKeys: false,
  });
}

export function withToolsAsText(
  messages: readonly TemplateMessage[],
  tools: readonly TemplateTool[],
): TemplateMessage[] {
  const turns: TemplateMessage[] = [];
  for (const message of messages) {
    const { role, content, toolCalls = [] } = message;
    if (role === 'tool') addResponse(turns, content);
    else if (toolCalls.length === 0) turns.push({ role, content });
    else
      turns.push({
        role,
        content: [content, ...toolCalls.map(callText)].filter((text) => text !== '').join('\n'),
      });
  }
  return tools.length === 0 ? turns : withSystemText(turns, toolsText(tools));
}

function toolsText(tools: readonly TemplateTool[]): string {
  return [INTRODUCTION, ...tools.map(json)].join('\n') + HOW_TO_CALL;
}

function callText({ name, arguments: given }: NonNullable<TemplateMessage['toolCalls']>[number]): string {
  const text = typeof given === 'string' ? given : json(given);
  return `${TOOL_START}\n{"name": ${json(name)}, "arguments": ${text}}\n${TOOL_END}`;
}

/** What came of calls, one after the other, is one turn of the user's. */
function addResponse(turns: TemplateMessage[], content: string): void {
  const response = `<tool_response>\n${content}\n</tool_response>`;
  const last = turns.at(-1);
  if (last?.isResponse === true)
    turns[turns.length - 1] = { ...last, content: `${last.content}\n${response}` };
  else turns.push({ role: 'user', content: response, isResponse: true });
}

function withSystemText(turns: readonly TemplateMessage[], text: string): TemplateMessage[] {
  const [first, ...rest] = turns;
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...turns];
  return [{ ...first, content: `${first.content}\n\n${text}` }, ...rest];
}
