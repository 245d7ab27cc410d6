// Renders a checkpoint's chat template, read once, inside limits of size and time. Templates come from the checkpoint
// or from the fallbacks below, never from a request.
import { AppError } from '../../common/errors.js';
import {
  CHAT_TEMPLATE_TIMEOUT_MS,
  MAX_CHAT_TEMPLATE_CHARS,
  MAX_RENDERED_CHARS,
} from '../../common/limits.js';
import { BudgetError } from './jinja/budget.js';
import { Template } from './jinja/template.js';
import { fromJson } from './jinja/values.js';
import { THINK_END, THINK_START } from './reasoning-splitter.js';
import { withToolsAsText } from './tool-text.js';

export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: unknown }[];
  /** A turn of the user's that is made of what came of calls. */
  readonly isResponse?: boolean;
}

/** As OpenAI's API and the templates have it. */
export interface TemplateTool {
  readonly type: 'function';
  readonly function: { readonly name: string; readonly description?: string; readonly parameters: unknown };
}

/** Values of bos_token and the like that templates refer to by name. */
export type TemplateTokens = Readonly<Record<string, string>>;

const LIMITS = { timeoutMs: CHAT_TEMPLATE_TIMEOUT_MS, maxSize: MAX_RENDERED_CHARS };
const PROBE = 'skein-probe-text';
const PROBE_TOOL: TemplateTool = {
  type: 'function',
  function: {
    name: 'skein_probe_tool',
    description: 'a probe',
    parameters: { type: 'object', properties: {} },
  },
};
/** A conversation with tools, and what must be seen of it. */
const PROBE_CHAT: readonly TemplateMessage[] = [
  { role: 'user', content: PROBE },
  {
    role: 'assistant',
    content: '',
    toolCalls: [{ name: 'skein_probe_call', arguments: { skein_probe_key: 'value' } }],
  },
  { role: 'tool', content: 'skein-probe-result' },
];
const PROBE_WORDS = ['skein_probe_tool', 'skein_probe_call', 'skein_probe_key', 'skein-probe-result'];

function unsupported(problem: string, cause?: unknown): AppError {
  return new AppError('UNSUPPORTED_MODEL', `The chat template ${problem}`, { cause });
}

export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: TemplateTokens;
  /** Some templates of vision models walk a list of parts and render nothing for a plain string. */
  readonly #wantsPartList: boolean;
  /** It shows tools, calls and what came of them; null stands for the content of a message that only calls. */
  readonly #knowsTools: boolean;
  readonly #noContent: '' | null;

  constructor(source: string, tokens: TemplateTokens) {
    if (source.length > MAX_CHAT_TEMPLATE_CHARS) {
      throw unsupported(`has ${source.length} characters; at most ${MAX_CHAT_TEMPLATE_CHARS} are accepted`);
    }
    this.#tokens = tokens;
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw unsupported(`cannot be parsed: ${describe(error)}`, error);
    }
    this.#wantsPartList = this.#detectPartList();
    const fitting = (['', null] as const).filter((noContent) => this.#showsTools(noContent));
    this.#knowsTools = fitting.length > 0;
    this.#noContent = fitting[0] ?? '';
  }

  /** Text up to and including the generation prompt. INVALID_REQUEST where the template refuses the messages. */
  render(messages: readonly TemplateMessage[], tools: readonly TemplateTool[] = []): string {
    try {
      const hasTools =
        tools.length > 0 || messages.some(({ role, toolCalls }) => role === 'tool' || toolCalls);
      if (!hasTools) return this.#run(messages, this.#wantsPartList);
      if (!this.#knowsTools) return this.#run(withToolsAsText(messages, tools), this.#wantsPartList);
      return this.#run(messages, this.#wantsPartList, tools, this.#noContent);
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('INVALID_REQUEST', `The chat template refuses the messages: ${describe(error)}`, {
        details: { param: 'messages' },
        cause: error,
      });
    }
  }

  #detectPartList(): boolean {
    let failure: unknown;
    for (const asPartList of [false, true]) {
      try {
        if (this.#run([{ role: 'user', content: PROBE }], asPartList).includes(PROBE)) return asPartList;
      } catch (error) {
        if (error instanceof AppError) throw error;
        failure = error;
      }
    }
    throw unsupported(
      `does not render a user message${failure === undefined ? '' : `: ${describe(failure)}`}`,
      failure,
    );
  }

  #showsTools(noContent: '' | null): boolean {
    try {
      const text = this.#run(PROBE_CHAT, this.#wantsPartList, [PROBE_TOOL], noContent);
      return PROBE_WORDS.every((word) => text.includes(word));
    } catch {
      return false;
    }
  }

  #run(
    messages: readonly TemplateMessage[],
    asPartList: boolean,
    tools: readonly TemplateTool[] = [],
    noContent: '' | null = '',
  ): string {
    const values = {
      ...this.#tokens,
      tools: tools.length === 0 ? null : tools,
      documents: null,
      add_generation_prompt: true,
      messages: messages.map(({ role, content, toolCalls }) => ({
        role,
        content: contentOf(content, asPartList, toolCalls === undefined ? '' : noContent),
        ...(toolCalls === undefined ? {} : { tool_calls: toolCalls.map(toTemplateCall) }),
      })),
    };
    try {
      return this.#template.render(
        Object.entries(values).map(([name, value]) => [name, fromJson(value)] as const),
        LIMITS,
      );
    } catch (error) {
      if (error instanceof BudgetError) throw unsupported(error.message, error);
      throw error;
    }
  }
}

function contentOf(content: string, asPartList: boolean, noContent: '' | null): unknown {
  if (content === '' && noContent === null) return null;
  return asPartList ? [{ type: 'text', text: content }] : content;
}

function toTemplateCall(call: NonNullable<TemplateMessage['toolCalls']>[number]): object {
  return { type: 'function', function: { name: call.name, arguments: call.arguments } };
}

function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 200);
}

/**
 * A model that reasons opens the reasoning in the prompt, and sees none of its earlier turns, as the models' own
 * templates have it.
 */
function chatMl(reasons: boolean): string {
  const cut =
    "{% if message['role'] == 'assistant' and '</think>' in content %}" +
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}";
  return (
    `{% for message in messages %}{% set content = message['content'] %}${reasons ? cut : ''}` +
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}{% endfor %}" +
    `{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n${reasons ? `${THINK_START}\\n` : ''}' }}{% endif %}`
  );
}

const R1V =
  "{{ '<｜begin▁of▁sentence｜>' }}{% for message in messages %}" +
  "{% if message['role'] == 'user' %}{{ '<｜User｜>\\n' + message['content'] }}" +
  "{% elif message['role'] == 'assistant' %}" +
  "{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}" +
  "{% else %}{{ message['content'] }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}";

export interface FallbackTemplate {
  /** For people. */
  readonly name: string;
  readonly source: string;
}

/**
 * For checkpoints without a template, by the names that the vocabulary knows: R1V's full-width form, else ChatML.
 * ChatML opens the reasoning itself where both tags are tokens (R1V2, R1V3); a vocabulary without them is taken for a
 * model that does not reason.
 */
export function fallbackTemplate(hasToken: (content: string) => boolean): FallbackTemplate {
  if (hasToken('<｜User｜>') && hasToken('<｜Assistant｜>')) return { name: "R1V's form", source: R1V };
  if (hasToken('<|im_start|>') && hasToken('<|im_end|>')) {
    const reasons = hasToken(THINK_START) && hasToken(THINK_END);
    return { name: reasons ? 'ChatML that opens the reasoning' : 'ChatML', source: chatMl(reasons) };
  }
  throw new AppError(
    'UNSUPPORTED_MODEL',
    'The checkpoint has no chat template, and its vocabulary fits none that Skein knows',
  );
}
