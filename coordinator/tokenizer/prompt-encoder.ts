// Chat messages to token ids: user text that cannot spell a special token, one run of image tokens per picture. What is
// left of the history's reasoning is the template's to say: tags of an assistant's turn reach it, and the ids, as they
// are.
import { AppError } from '../../common/errors.js';
import { isDeeperThan } from '../../common/json-depth.js';
import {
  MAX_MESSAGES,
  MAX_PICTURES_PER_REQUEST,
  MAX_PROMPT_CHARS,
  MAX_TEMPLATE_VALUE_DEPTH,
} from '../../common/limits.js';
import type { ChatTemplate, TemplateMessage, TemplateTool } from './chat-template.js';
import { reasoningAfterText, type ReasoningAtEnd } from './reasoning-start.js';
import { THINK_END, THINK_START } from './reasoning-splitter.js';
import type { ChatMessage, ChatTool, EncodedPrompt } from './text-processor.js';
import { TextProtector, type Tokenizer } from './tokenizer.js';

/** Where a picture stands in the rendered prompt. It need not be a token: it is replaced before text is encoded. */
const PICTURE_PLACEHOLDER = '<image>';
const ROLES: readonly string[] = ['system', 'user', 'assistant', 'tool'];

export interface ImageTokens {
  readonly start: number;
  readonly context: number;
  readonly end: number;
  readonly tokensPerTile: number;
}

export interface PromptEncoderOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Null for text-only models. */
  readonly imageTokens: ImageTokens | null;
  /** Whether an output without a start tag begins inside the reasoning. */
  readonly startsInReasoning: (atEnd: ReasoningAtEnd) => boolean;
}

function invalid(param: string, message: string, limit?: number): AppError {
  return new AppError('INVALID_REQUEST', message, {
    details: { param, ...(limit === undefined ? {} : { limit }) },
  });
}

/** As an object, which is what templates print; as text where it is none. */
function parseArguments(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null;
    if (isObject && !isDeeperThan(value, MAX_TEMPLATE_VALUE_DEPTH)) return value;
  } catch {
    // The model went wrong there: it sees what it wrote.
  }
  return text;
}

export class PromptEncoder {
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate;
  readonly #imageTokens: ImageTokens | null;
  readonly #startsInReasoning: (atEnd: ReasoningAtEnd) => boolean;
  readonly #protector: TextProtector;
  /** For text of the model itself: its reasoning tags are tags. */
  readonly #assistantProtector: TextProtector;

  constructor(options: PromptEncoderOptions) {
    this.#tokenizer = options.tokenizer;
    this.#template = options.template;
    this.#imageTokens = options.imageTokens;
    this.#startsInReasoning = options.startsInReasoning;
    const contents = options.tokenizer.vocabulary.addedTokens.map((token) => token.content);
    const spellings = [...contents, PICTURE_PLACEHOLDER];
    const tags = [THINK_START, THINK_END];
    this.#protector = new TextProtector([...spellings, ...tags]);
    this.#assistantProtector = new TextProtector(spellings.filter((spelling) => !tags.includes(spelling)));
  }

  encode(messages: readonly ChatMessage[], tools: readonly ChatTool[] = []): EncodedPrompt {
    this.#checkMessages(messages);
    const rendered = this.#template.render(
      messages.map((message) => this.#toTemplateMessage(message)),
      tools.map((tool) => this.#toTemplateTool(tool)),
    );
    const numTiles = messages.flatMap((message) =>
      message.parts.filter((part) => part.type === 'picture').map((part) => part.numTiles!),
    );
    const sections = rendered.split(PICTURE_PLACEHOLDER);
    if (sections.length !== numTiles.length + 1) {
      const message = `The chat template shows ${sections.length - 1} pictures where the messages have ${numTiles.length}`;
      throw invalid('messages', message);
    }
    const atEnd = reasoningAfterText(rendered, this.#tokenizer);
    return {
      ...this.#encodeSections(sections, numTiles),
      startsInReasoning: this.#startsInReasoning(atEnd),
    };
  }

  /** `sections[i]` is the text before picture i; the last one is what follows all pictures. */
  #encodeSections(
    sections: readonly string[],
    numTiles: readonly number[],
  ): Pick<EncodedPrompt, 'tokenIds' | 'pictures'> {
    const ids: number[] = [];
    const pictures: { firstPosition: number; numTokens: number }[] = [];
    sections.forEach((section, index) => {
      for (const id of this.#tokenizer.encodeMarked(section)) ids.push(id);
      if (index === numTiles.length) return;
      const { start, context, end, tokensPerTile } = this.#imageTokens!;
      const numTokens = tokensPerTile * numTiles[index]!;
      ids.push(start);
      pictures.push({ firstPosition: ids.length, numTokens });
      for (let i = 0; i < numTokens; i++) ids.push(context);
      ids.push(end);
    });
    return { tokenIds: Uint32Array.from(ids), pictures };
  }

  /** Text is protected per run of parts, so that two parts cannot spell a special token together either. */
  #toTemplateMessage(message: ChatMessage): TemplateMessage {
    const protector = message.role === 'assistant' ? this.#assistantProtector : this.#protector;
    let content = '';
    let run = '';
    const flush = (): void => {
      content += protector.protect(run);
      run = '';
    };
    for (const part of message.parts) {
      if (part.type === 'text') {
        run += part.text;
      } else {
        flush();
        content += `${PICTURE_PLACEHOLDER}\n`;
      }
    }
    flush();
    if (message.toolCalls === undefined) return { role: message.role, content };
    const toolCalls = message.toolCalls.map(({ name, arguments: text }) => ({
      name: this.#protector.protect(name),
      arguments: this.#protected(parseArguments(text)),
    }));
    return { role: message.role, content, toolCalls };
  }

  #toTemplateTool(tool: ChatTool): TemplateTool {
    return { type: 'function', function: this.#protected(tool) as TemplateTool['function'] };
  }

  /** All text in it, names of fields too. */
  #protected(value: unknown): unknown {
    if (typeof value === 'string') return this.#protector.protect(value);
    if (Array.isArray(value)) return value.map((each) => this.#protected(each));
    if (typeof value !== 'object' || value === null) return value;
    const fields = Object.entries(value).map(([name, each]) => [
      this.#protector.protect(name),
      this.#protected(each),
    ]);
    return Object.fromEntries(fields) as unknown;
  }

  #checkMessages(messages: readonly ChatMessage[]): void {
    if (messages.length === 0) throw invalid('messages', 'messages is empty; at least one is needed');
    if (messages.length > MAX_MESSAGES) {
      throw invalid(
        'messages',
        `${messages.length} messages; at most ${MAX_MESSAGES} are accepted`,
        MAX_MESSAGES,
      );
    }
    let numChars = 0;
    let numPictures = 0;
    messages.forEach(({ role, parts }, index) => {
      if (!ROLES.includes(role))
        throw invalid(
          `messages[${index}].role`,
          `messages[${index}].role must be one of ${ROLES.join(', ')}`,
        );
      parts.forEach((part, partIndex) => {
        const param = `messages[${index}].parts[${partIndex}]`;
        if (part.type === 'text') {
          if (typeof part.text !== 'string') throw invalid(param, `${param} has no text`);
          numChars += part.text.length;
        } else {
          if (this.#imageTokens === null)
            throw invalid(param, `${param} is a picture, but the model takes text only`);
          if (!Number.isInteger(part.numTiles) || part.numTiles! < 1)
            throw invalid(param, `${param} has no number of tiles`);
          numPictures += 1;
        }
      });
    });
    if (numChars > MAX_PROMPT_CHARS) {
      throw invalid(
        'messages',
        `messages have ${numChars} characters; at most ${MAX_PROMPT_CHARS} are accepted`,
        MAX_PROMPT_CHARS,
      );
    }
    if (numPictures > MAX_PICTURES_PER_REQUEST) {
      const message = `messages have ${numPictures} pictures; at most ${MAX_PICTURES_PER_REQUEST} are accepted`;
      throw invalid('messages', message, MAX_PICTURES_PER_REQUEST);
    }
  }
}
