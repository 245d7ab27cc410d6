// Takes tool calls out of an answer while it streams: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as
// Qwen2.5 and Hermes write them. The name goes out as soon as it is there, and the arguments piece by piece as they are
// written; what only begins like a call goes out as text.

export interface ToolCallDelta {
  /** Of the answer's calls. */
  readonly index: number;
  /** With the first delta of a call, as its name. */
  readonly id?: string;
  readonly name?: string;
  arguments: string;
}

export interface SplitAnswer {
  readonly text: string;
  readonly toolCalls: ToolCallDelta[];
}

export const TOOL_START = '<tool_call>';
export const TOOL_END = '</tool_call>';
export const TOOL_TAGS: readonly string[] = [TOOL_START, TOOL_END];

const HEAD = /^\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=[{[])/s;

/**
 * | state     | on                                   | becomes                                    |
 * | text      | start tag                            | head                                       |
 * | head      | name and the beginning of arguments  | arguments                                  |
 * | head      | end tag                              | text: a whole call, or none and so text    |
 * | arguments | their last bracket                   | tail                                       |
 * | tail      | end tag                              | text                                       |
 */
export class ToolCallSplitter {
  #state: 'text' | 'head' | 'arguments' | 'tail' = 'text';
  #pending = '';
  #numCalls = 0;
  readonly #nesting = new JsonNesting();
  readonly #newId: () => string;

  constructor(newId: () => string) {
    this.#newId = newId;
  }

  /** Calls that have begun. */
  get numCalls(): number {
    return this.#numCalls;
  }

  /** One call at least is there, whole, and no other has begun. */
  get isBetweenCalls(): boolean {
    return this.#state === 'text' && this.#numCalls > 0;
  }

  push(text: string): SplitAnswer {
    this.#pending += text;
    const answer = { text: '', toolCalls: [] as ToolCallDelta[] };
    for (let moved = true; moved;) moved = this.#advance(answer);
    return answer;
  }

  /** What was held back is text, but for blanks behind a call, and for what belongs to a call that was cut. */
  finish(): SplitAnswer {
    const text =
      this.#state === 'head' ? TOOL_START + this.#pending : this.#state === 'text' ? this.#pending : '';
    this.#pending = '';
    return { text: this.#numCalls > 0 && text.trim() === '' ? '' : text, toolCalls: [] };
  }

  /** False: more text is needed. */
  #advance(answer: { text: string; toolCalls: ToolCallDelta[] }): boolean {
    switch (this.#state) {
      case 'text':
        return this.#advanceText(answer);
      case 'head':
        return this.#advanceHead(answer);
      case 'arguments':
        return this.#advanceArguments(answer);
      case 'tail':
        if (this.#cutAt(TOOL_END) === null) return false;
        this.#state = 'text';
        return true;
    }
  }

  /** What stands before `tag`, and takes both away; null: it is not there. */
  #cutAt(tag: string): string | null {
    const at = this.#pending.indexOf(tag);
    if (at < 0) return null;
    const before = this.#pending.slice(0, at);
    this.#pending = this.#pending.slice(at + tag.length);
    return before;
  }

  #advanceText(answer: { text: string }): boolean {
    const before = this.#cutAt(TOOL_START);
    // Blanks before a call are no text of the answer.
    if (before !== null) {
      answer.text += before.trimEnd();
      this.#state = 'head';
      return true;
    }
    const held = heldBack(this.#pending);
    answer.text += this.#pending.slice(0, this.#pending.length - held);
    this.#pending = this.#pending.slice(this.#pending.length - held);
    return false;
  }

  #advanceHead(answer: { text: string; toolCalls: ToolCallDelta[] }): boolean {
    const head = HEAD.exec(this.#pending);
    const name = head === null ? null : parseJson(head[1]!);
    if (head !== null && typeof name === 'string') {
      this.#begin(answer, name, '');
      this.#pending = this.#pending.slice(head[0].length);
      this.#state = 'arguments';
      this.#nesting.begin();
      return true;
    }
    const inner = this.#cutAt(TOOL_END);
    if (inner === null) return false;
    const call = parseCall(inner);
    if (call === null) answer.text += TOOL_START + inner + TOOL_END;
    else this.#begin(answer, call.name, call.arguments);
    this.#state = 'text';
    return true;
  }

  #begin(answer: { toolCalls: ToolCallDelta[] }, name: string, text: string): void {
    answer.toolCalls.push({ index: this.#numCalls, id: this.#newId(), name, arguments: text });
    this.#numCalls += 1;
  }

  #advanceArguments(answer: { toolCalls: ToolCallDelta[] }): boolean {
    const length = this.#nesting.take(this.#pending);
    const text = this.#pending.slice(0, length);
    this.#pending = this.#pending.slice(length);
    const index = this.#numCalls - 1;
    const last = answer.toolCalls.at(-1);
    if (last?.index === index) last.arguments += text;
    else if (text !== '') answer.toolCalls.push({ index, arguments: text });
    if (!this.#nesting.isOver) return false;
    this.#state = 'tail';
    return true;
  }
}

/** Finds the end of an object or a list in JSON that comes in pieces. */
class JsonNesting {
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #hasBegun = false;

  begin(): void {
    this.#depth = 0;
    this.#isInString = false;
    this.#isEscaped = false;
    this.#hasBegun = false;
  }

  get isOver(): boolean {
    return this.#hasBegun && this.#depth === 0;
  }

  /** How much of the text belongs to it. */
  take(text: string): number {
    for (let index = 0; index < text.length; index += 1) {
      if (this.isOver) return index;
      this.#step(text[index]!);
    }
    return text.length;
  }

  #step(character: string): void {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#isInString = false;
      return;
    }
    if (character === '"') this.#isInString = true;
    else if (character === '{' || character === '[') {
      this.#depth += 1;
      this.#hasBegun = true;
    } else if (character === '}' || character === ']') this.#depth -= 1;
  }
}

/** At the end: blanks, and what may become a start tag. */
function heldBack(text: string): number {
  let length = Math.min(TOOL_START.length - 1, text.length);
  while (length > 0 && !text.endsWith(TOOL_START.slice(0, length))) length -= 1;
  return text.length - text.slice(0, text.length - length).trimEnd().length;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** In whatever order its fields are; arguments may be JSON in a string. */
function parseCall(text: string): { readonly name: string; readonly arguments: string } | null {
  const call = parseJson(text);
  if (typeof call !== 'object' || call === null) return null;
  const { name, arguments: given, parameters = given ?? {} } = call as Record<string, unknown>;
  if (typeof name !== 'string') return null;
  return { name, arguments: typeof parameters === 'string' ? parameters : JSON.stringify(parameters) };
}
