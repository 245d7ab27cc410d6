// Several answers that are read together, as one call asks for them: some prompts, each answered some times. What is
// not read yet is merged by answer; a reader that is behind pauses them all. One that fails ends them all.
import { AppError, toAppError } from '../../common/errors.js';
import {
  bytesOfDelta,
  isLargeDelta,
  mergeDeltas,
  type GenerationDelta,
  type RequestSink,
} from '../requests/generation.js';
import { picturesOf, type PromptInput, type RequestSpec } from '../requests/request-spec.js';
import { RequestStream } from '../requests/request-stream.js';
import type { Engine, RequestHandle } from './engine.js';

/** What came of the answers since it was last looked: number of the answer -> delta. */
export type ChoiceDeltas = ReadonlyMap<number, GenerationDelta>;

export interface ChoicesSpec {
  /** One for each prompt. */
  readonly specs: readonly RequestSpec[];
  /** Answers to each prompt, at least 1; answer `i` of prompt `p` has number `p * numChoices + i`. */
  readonly numChoices: number;
  /** Each prompt is encoded: called once for it, before any delta of its answers. */
  readonly onPrompt?: (prompt: number, tokenIds: Uint32Array) => void;
}

/**
 * Rejects with why the first of them failed. A reader that leaves ends them all, as does the signal; its reason, an
 * AppError, is what the reader gets.
 */
export function generateChoices(
  engine: Pick<Engine, 'submit'>,
  choices: ChoicesSpec,
  signal: AbortSignal,
): RequestStream<ChoiceDeltas> {
  const call = new ChoicesCall(engine, choices);
  const onAbort = (): void => call.fail(toAppError(signal.reason));
  call.onOver = () => signal.removeEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  call.start();
  return call.deltas;
}

class ChoicesCall {
  readonly deltas = new RequestStream<ChoiceDeltas>({
    merge: mergeChoices,
    isFull: (deltas) => [...deltas.values()].some(isLargeDelta),
    bytesOf: (deltas) => {
      let numBytes = 0;
      for (const delta of deltas.values()) numBytes += bytesOfDelta(delta);
      return numBytes;
    },
    onBehind: (isBehind) => {
      for (const handle of this.#handles) handle.setPaused(isBehind);
    },
    onCancel: () => this.#end(new AppError('CANCELLED', 'the reader left')),
  });
  onOver: () => void = () => undefined;
  readonly #engine: Pick<Engine, 'submit'>;
  readonly #choices: ChoicesSpec;
  readonly #handles: RequestHandle[] = [];
  #numLeft: number;
  #isOver = false;

  constructor(engine: Pick<Engine, 'submit'>, choices: ChoicesSpec) {
    this.#engine = engine;
    this.#choices = choices;
    this.#numLeft = choices.specs.length * choices.numChoices;
  }

  start(): void {
    this.#choices.specs.forEach((spec, index) => this.#submitFirst(spec, index));
  }

  fail(error: AppError): void {
    if (this.#isOver) return;
    this.deltas.fail(error);
    this.#end(error);
  }

  /** The prompt is encoded once: the others of it follow with its ids. */
  #submitFirst(spec: RequestSpec, promptIndex: number): void {
    const firstNumber = promptIndex * this.#choices.numChoices;
    this.#submit(spec, firstNumber, 0, (tokenIds) => {
      this.#choices.onPrompt?.(promptIndex, tokenIds);
      const prompt: PromptInput = { kind: 'tokens', tokenIds, pictures: picturesOf(spec.prompt) };
      for (let index = 1; index < this.#choices.numChoices; index += 1)
        this.#submit({ ...spec, prompt }, firstNumber + index, index);
    });
  }

  #submit(
    spec: RequestSpec,
    number: number,
    choiceIndex: number,
    onPrompt: RequestSink['onPrompt'] = () => undefined,
  ): void {
    if (this.#isOver) return;
    const handle = this.#engine.submit(
      { ...spec, choiceIndex },
      {
        onPrompt,
        onDelta: (delta) => this.#take(number, delta),
        onFailure: (error) => this.fail(error),
      },
    );
    // Refused at once, it has ended the others already.
    if (this.#isOver) handle.cancel(new AppError('CANCELLED', 'another answer of the call failed'));
    else {
      this.#handles.push(handle);
      if (this.deltas.isBehind) handle.setPaused(true);
    }
  }

  #take(number: number, delta: GenerationDelta): void {
    if (this.#isOver) return;
    this.deltas.push(new Map([[number, delta]]));
    if (delta.end === null) return;
    this.#numLeft -= 1;
    if (this.#numLeft > 0) return;
    this.deltas.end();
    this.#end(null);
  }

  /** What still runs is cancelled with the error. */
  #end(error: AppError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.onOver();
    if (error !== null) for (const handle of this.#handles) handle.cancel(error);
    this.#handles.length = 0;
  }
}

function mergeChoices(older: ChoiceDeltas, newer: ChoiceDeltas): ChoiceDeltas {
  const merged = new Map(older);
  for (const [number, delta] of newer) {
    const before = older.get(number);
    merged.set(number, before === undefined ? delta : mergeDeltas(before, delta));
  }
  return merged;
}
