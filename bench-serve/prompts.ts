// Turns what is asked into what is sent: token ids, or text whose tokens are counted, and pictures, all from the
// workload's seed. Everything is made before the first request is due.
import { AppError } from '../common/errors.js';
import { allWords, drawWords, fitText } from './fit-text.js';
import type { PictureMaker } from './pictures.js';
import { Random } from './random.js';
import type { AnswerEnd, Message, Part, Picture, Prompt, Served } from './target.js';
import type { Conversation, Segment, Turn } from './workload.js';

export interface PreparedTurn {
  /** Of a later turn: what comes after the answer before it. */
  readonly prompt: Prompt;
  readonly outputTokens: number;
  /** Tokens that the whole prompt should have; null where that is not known beforehand. */
  readonly promptTokens: number | null;
}

export interface PreparedConversation {
  readonly index: number;
  readonly atMs: number;
  readonly turns: readonly PreparedTurn[];
}

/** 'ids' and 'text' are prompts as they are, 'messages' go through the server's template. */
export type PromptForm = 'ids' | 'text' | 'messages';

/** Ids of a text, with the template around it or not; null: nobody can say. */
export type Tokenize = (text: string, asChat: boolean) => Promise<readonly number[] | null>;

type DrawId = (random: Random) => number;

export interface PromptMakerOptions {
  readonly seed: number;
  readonly form: PromptForm;
  readonly served: Pick<Served, 'vocabSize' | 'pictureTokenId'>;
  readonly tokenize: Tokenize;
  readonly pictures: PictureMaker;
}

export class PromptMaker {
  readonly #options: PromptMakerOptions;
  /** Ids that prompts are drawn from; null: text is made. */
  readonly #drawId: DrawId | null;
  /** Tokens of an empty message in its template; null: texts have about as many tokens as words. */
  readonly #templateTokens: number | null;
  readonly #texts = new Map<string, string>();

  private constructor(options: PromptMakerOptions, drawId: DrawId | null, templateTokens: number | null) {
    this.#options = options;
    this.#drawId = drawId;
    this.#templateTokens = templateTokens;
  }

  /** Asks the tokenizer what it needs to know. INVALID_REQUEST where ids are wanted and none are known. */
  static async create(options: PromptMakerOptions): Promise<PromptMaker> {
    const { form, served, tokenize } = options;
    if (form === 'ids') return new PromptMaker(options, await idSource(served, tokenize), null);
    const letter = await tokenize('a', form === 'messages');
    return new PromptMaker(options, null, letter === null ? null : letter.length - 1);
  }

  /** Whether prompts have exactly as many tokens as was asked for. */
  get isExact(): boolean {
    return this.#drawId !== null || this.#templateTokens !== null;
  }

  async prepare({ index, atMs, turns }: Conversation): Promise<PreparedConversation> {
    const prepared: PreparedTurn[] = [];
    for (const [place, turn] of turns.entries()) prepared.push(await this.#prepareTurn(turn, place === 0));
    return { index, atMs, turns: prepared };
  }

  async #prepareTurn(turn: Turn, isFirst: boolean): Promise<PreparedTurn> {
    const { form } = this.#options;
    const pictures: Picture[] = [];
    for (const name of turn.pictures) pictures.push(await this.#options.pictures.make(name));
    const isCounted = isFirst && pictures.length === 0 && this.isExact;
    const isText = turn.segments.some((segment) => 'text' in segment);
    const tokens = turn.segments.reduce((sum, segment) => sum + ('text' in segment ? 0 : segment.tokens), 0);
    const promptTokens = isCounted && !isText ? tokens : null;
    const { outputTokens } = turn;
    if (form === 'ids') return { prompt: this.#ids(turn.segments, pictures), outputTokens, promptTokens };
    const texts = await this.#textsOf(turn.segments, isFirst);
    if (form === 'text')
      return { prompt: { kind: 'text', text: texts.join('') }, outputTokens, promptTokens };
    const parts = texts.map((text): Part => ({ kind: 'text', text }));
    const shown = pictures.map((picture): Part => ({ kind: 'picture', picture }));
    parts.splice(parts.length - 1, 0, ...shown);
    return { prompt: { kind: 'messages', messages: [{ role: 'user', parts }] }, outputTokens, promptTokens };
  }

  #ids(segments: readonly Segment[], pictures: readonly Picture[]): Prompt {
    const { seed, served } = this.#options;
    const ids: number[] = [];
    for (const [place, segment] of segments.entries()) {
      if ('text' in segment) throw wrong('trace', '--trace: prompts as text need --prompts text');
      if (place === segments.length - 1 && pictures.length > 0) {
        if (served.pictureTokenId === null)
          throw wrong('pictures', '--pictures: the server names no token for pictures; give --prompts text');
      }
      const random = new Random(seed, 'ids', segment.key);
      if (place === segments.length - 1) {
        // A run of the picture's token would be one picture: an ordinary one stands between two.
        for (const index of pictures.keys())
          ids.push(...(index === 0 ? [] : [this.#drawId!(random)]), served.pictureTokenId!);
      }
      for (let index = 0; index < segment.tokens; index++) ids.push(this.#drawId!(random));
    }
    return { kind: 'ids', ids: Uint32Array.from(ids), pictures };
  }

  /** One text for each segment; the last makes up for what the others are off, and for the template. */
  async #textsOf(segments: readonly Segment[], isFirst: boolean): Promise<string[]> {
    const texts: string[] = [];
    for (const [place, segment] of segments.entries()) {
      if ('text' in segment) texts.push(segment.text);
      else if (place < segments.length - 1) texts.push(await this.#sharedText(segment));
      else {
        const before = texts.join('');
        const wanted = segments.reduce((sum, each) => sum + ('text' in each ? 0 : each.tokens), 0);
        texts.push(await this.#ownText(segment.key, before, isFirst ? wanted : null, segment.tokens));
      }
    }
    return texts;
  }

  async #sharedText({ key, tokens }: { readonly key: string; readonly tokens: number }): Promise<string> {
    const name = `${key}/${tokens}`;
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    const text = `${await this.#ownText(key, '', null, tokens)} `;
    this.#texts.set(name, text);
    return text;
  }

  /** `whole`: tokens of the whole prompt, template and `before` included; null: `tokens` of the text alone. */
  async #ownText(key: string, before: string, whole: number | null, tokens: number): Promise<string> {
    const random = new Random(this.#options.seed, 'text', key);
    const template = this.#templateTokens;
    if (template === null) return drawWords(random, tokens).join(' ');
    const wanted = whole ?? tokens + template;
    const floor = template + 1 + (before === '' ? 0 : wanted - tokens - template);
    if (whole !== null && wanted < floor) {
      const message = `--input-len: ${tokens} tokens are too few: the server's template alone takes ${template}`;
      throw wrong('input-len', message);
    }
    const { text } = await fitText(wanted, random, (tried) => this.#count(before + tried));
    return text;
  }

  async #count(text: string): Promise<number> {
    const ids = await this.#options.tokenize(text, this.#options.form === 'messages');
    if (ids === null) throw new AppError('NOT_READY', 'the server no longer counts tokens');
    return ids.length;
  }
}

/** Of the whole vocabulary where its size is known, else the ids of ordinary words. */
async function idSource(
  { vocabSize, pictureTokenId }: PromptMakerOptions['served'],
  tokenize: Tokenize,
): Promise<DrawId> {
  if (vocabSize !== null) {
    return (random) => {
      const id = random.integer(0, vocabSize - 1);
      return id === pictureTokenId ? 0 : id;
    };
  }
  const ids = await tokenize(allWords(), false);
  if (ids === null)
    throw wrong('prompts', '--prompts ids: the server has no /tokenize; give --tokenizer, or --prompts text');
  const pool = [...new Set(ids)];
  return (random) => random.pick(pool);
}

/** A conversation's next prompt: what was said, the answer, and what comes after it. */
export function continuePrompt(before: Prompt, answer: AnswerEnd, next: Prompt): Prompt {
  if (before.kind === 'messages' && next.kind === 'messages') {
    const said: Message = { role: 'assistant', parts: [{ kind: 'text', text: answer.text }] };
    return { kind: 'messages', messages: [...before.messages, said, ...next.messages] };
  }
  if (before.kind === 'ids' && next.kind === 'ids' && answer.tokenIds !== null) {
    return {
      kind: 'ids',
      ids: Uint32Array.from([...before.ids, ...answer.tokenIds, ...next.ids]),
      pictures: [...before.pictures, ...next.pictures],
    };
  }
  throw new AppError('INTERNAL', 'turns of different forms');
}

function wrong(param: string, message: string): AppError {
  return new AppError('INVALID_REQUEST', message, { details: { param } });
}
