// Renders a checkpoint's Jinja chat template, compiled once, inside limits of size and time. Templates come from the checkpoint or from
// the fallbacks below, never from a request.
import vm from 'node:vm';
import { AppError } from '../../common/errors.js';
import { CHAT_TEMPLATE_TIMEOUT_MS, MAX_CHAT_TEMPLATE_CHARS, MAX_PROMPT_CHARS } from '../../common/limits.js';
import { Environment, Interpreter, Template } from './huggingface.js';
import { THINK_END, THINK_START } from './reasoning-splitter.js';

export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
}

/** Values of bos_token and the like that templates refer to by name. */
export type TemplateTokens = Readonly<Record<string, string>>;

const MAX_RANGE_LENGTH = 100_000;
/** Escaping and role markers may make a prompt longer than its text. */
const MAX_RENDERED_CHARS = 4 * MAX_PROMPT_CHARS;
const PROBE = 'skein-probe-text';

/** Python's range, bounded: the library's own would fill memory before the time limit is seen. */
function boundedRange(first: number, last?: number, step = 1): number[] {
  const [start, stop] = last === undefined ? [0, first] : [first, last];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE_LENGTH)) throw new Error(`range() of more than ${MAX_RANGE_LENGTH} numbers`);
  return Array.from({ length }, (_, i) => start + i * step);
}

function raiseException(message: unknown): never {
  throw new Error(String(message));
}

function unsupported(problem: string, cause?: unknown): AppError {
  return new AppError('UNSUPPORTED_MODEL', `The chat template ${problem}`, { cause });
}

export class ChatTemplate {
  private readonly program: object;
  private readonly tokens: TemplateTokens;
  /** Some templates of vision models walk a list of parts and render nothing for a plain string. */
  private readonly wantsPartList: boolean;
  /** The template names the end tag: it cuts the history's reasoning itself, in its own way. */
  readonly handlesReasoning: boolean;
  private readonly sandbox: { render: () => string };
  private readonly script = new vm.Script('render()');

  constructor(source: string, tokens: TemplateTokens) {
    if (source.length > MAX_CHAT_TEMPLATE_CHARS) {
      throw unsupported(`has ${source.length} characters; at most ${MAX_CHAT_TEMPLATE_CHARS} are accepted`);
    }
    this.tokens = tokens;
    this.handlesReasoning = source.includes(THINK_END);
    this.sandbox = vm.createContext({ render: () => '' }) as { render: () => string };
    try {
      this.program = new Template(source).parsed;
    } catch (error) {
      throw unsupported(`cannot be parsed: ${describe(error)}`, error);
    }
    this.wantsPartList = this.detectPartList();
  }

  /** Text up to and including the generation prompt. INVALID_REQUEST where the template refuses the messages. */
  render(messages: readonly TemplateMessage[]): string {
    try {
      return this.run(messages, this.wantsPartList);
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('INVALID_REQUEST', `The chat template refuses the messages: ${describe(error)}`, {
        details: { param: 'messages' },
        cause: error,
      });
    }
  }

  private detectPartList(): boolean {
    let failure: unknown;
    for (const asPartList of [false, true]) {
      try {
        if (this.run([{ role: 'user', content: PROBE }], asPartList).includes(PROBE)) return asPartList;
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

  /** The watchdog of `vm` interrupts the interpreter wherever it is; nothing of the template runs as JavaScript. */
  private run(messages: readonly TemplateMessage[], asPartList: boolean): string {
    const environment = new Environment();
    const values: Record<string, unknown> = {
      true: true,
      false: false,
      none: null,
      True: true,
      False: false,
      None: null,
      range: boundedRange,
      raise_exception: raiseException,
      ...this.tokens,
      tools: null,
      add_generation_prompt: true,
      messages: messages.map(({ role, content }) => ({
        role,
        content: asPartList ? [{ type: 'text', text: content }] : content,
      })),
    };
    for (const [name, value] of Object.entries(values)) environment.set(name, value);
    this.sandbox.render = () => String(new Interpreter(environment).run(this.program).value);
    let rendered: string;
    try {
      rendered = this.script.runInContext(this.sandbox, {
        timeout: CHAT_TEMPLATE_TIMEOUT_MS,
      }) as string;
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
      throw unsupported(`took longer than ${CHAT_TEMPLATE_TIMEOUT_MS} ms`, error);
    }
    if (rendered.length > MAX_RENDERED_CHARS) {
      throw unsupported(`renders ${rendered.length} characters; at most ${MAX_RENDERED_CHARS} are accepted`);
    }
    return rendered;
  }
}

function describe(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 200);
}

const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const R1V =
  "{{ '<｜begin▁of▁sentence｜>' }}{% for message in messages %}" +
  "{% if message['role'] == 'user' %}{{ '<｜User｜>\\n' + message['content'] }}" +
  "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}" +
  "{% else %}{{ message['content'] }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}";

/**
 * For checkpoints without a template, by the names that the vocabulary knows: R1V's full-width form, else ChatML. ChatML opens the
 * reasoning itself where both tags are tokens (R1V2, R1V3); a vocabulary without them is taken for a model that does not reason.
 */
export function fallbackTemplate(hasToken: (content: string) => boolean): string {
  if (hasToken('<｜User｜>') && hasToken('<｜Assistant｜>')) return R1V;
  if (hasToken('<|im_start|>') && hasToken('<|im_end|>')) {
    const reasons = hasToken(THINK_START) && hasToken(THINK_END);
    return reasons ? `${CHATML}{% if add_generation_prompt %}{{ '${THINK_START}\\n' }}{% endif %}` : CHATML;
  }
  throw new AppError(
    'UNSUPPORTED_MODEL',
    'The checkpoint has no chat template, and its vocabulary fits none that Skein knows',
  );
}
