// What every API and `skein run` call: a checked request in, a stream of text and tokens out. It knows the text processor, the
// pictures and the step loop; not gRPC, HTTP, ranks or epochs.
import type { Clock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { RequestStream } from './request-stream.js';
import type {
  FinishReason,
  SequenceListener,
  SequencePicture,
  SequenceTokens,
  StepLoop,
  TokenLogprobs,
} from '../executor/step-loop.js';
import type { ChatMessage, OutputProcessor, TextProcessor } from '../tokenizer/text-processor.js';
import type { PictureProcessor, ProcessedPicture } from '../vision/picture.js';
import type { GenerateInput, MessageInput, PictureInput, PromptInput } from './generate-input.js';
import { resolveSampling, type ResolvedSampling, type SamplingDefaults } from './sampling-options.js';

export interface GenerationUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly pictureTiles: number;
}

export interface GenerationTimings {
  readonly queueMs: number;
  readonly ttftMs: number;
  readonly tpotMs: number;
  readonly totalMs: number;
}

export interface GenerationEnd {
  readonly finishReason: FinishReason;
  /** Everything that was generated, tags included. */
  readonly text: string;
  readonly usage: GenerationUsage;
  readonly timings: GenerationTimings;
}

export interface GenerationDelta {
  reasoning: string;
  answer: string;
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprobs[];
  /** With the last delta. */
  end: GenerationEnd | null;
}

export interface Generation {
  readonly requestId: string;
  readonly promptTokenIds: Uint32Array;
  readonly deltas: RequestStream<GenerationDelta>;
}

export interface InferenceOptions {
  readonly loop: StepLoop;
  readonly text: TextProcessor;
  /** Null for text-only models. */
  readonly pictures: PictureProcessor | null;
  /** Rows of the embedding: ids below it exist. */
  readonly vocabSize: number;
  readonly samplingDefaults: SamplingDefaults;
  readonly clock: Clock;
  /** Requests at once, those whose pictures are being decoded included. */
  readonly maxRequests: number;
}

interface EncodedInput {
  readonly tokenIds: Uint32Array;
  readonly startsInReasoning: boolean;
  readonly pictures: SequencePicture[];
  readonly pixels: Uint8Array[];
}

export class InferenceService {
  readonly #options: InferenceOptions;
  #numSequences = 0;
  #numActive = 0;
  #drained: (() => void) | null = null;
  #isDraining = false;

  constructor(options: InferenceOptions) {
    this.#options = options;
  }

  get numActive(): number {
    return this.#numActive;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Refuses new requests; resolves when the accepted ones have ended. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#numActive === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  /**
   * Accepts a request, or throws why not. An abort of the signal ends the sequence at the next step; its reason, an AppError,
   * is what the reader gets.
   */
  async generate(input: GenerateInput, signal: AbortSignal): Promise<Generation> {
    const receivedMs = this.#options.clock.nowMs();
    if (this.#isDraining) throw new AppError('DRAINING', 'the server is shutting down');
    if (this.#numActive >= this.#options.maxRequests) {
      throw new AppError(
        'QUEUE_FULL',
        `${this.#numActive} requests are in the server; the limit is ${this.#options.maxRequests}`,
      );
    }
    this.#numActive += 1;
    try {
      const { text, vocabSize, samplingDefaults } = this.#options;
      const sampling = resolveSampling(input.sampling, {
        vocabSize,
        eosTokenIds: text.stopTokenIds,
        defaults: samplingDefaults,
      });
      const encoded = await this.#encode(input);
      checkTokenIds(encoded.tokenIds, vocabSize);
      if (signal.aborted) throw toAppError(signal.reason);
      return this.#submit(input, encoded, sampling, receivedMs, signal);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  async #encode(input: GenerateInput): Promise<EncodedInput> {
    const { text } = this.#options;
    const processed = await this.#processPictures(picturesOf(input.prompt));
    const prompt =
      input.prompt.kind === 'tokens'
        ? text.encodeTokens(
            input.prompt.tokenIds,
            processed.map(({ numTiles }) => numTiles),
          )
        : text.encodeChat(toChatMessages(input.prompt.messages, processed));
    return {
      tokenIds: prompt.tokenIds,
      startsInReasoning: prompt.startsInReasoning,
      pictures: processed.map(({ numTiles }, index) => ({
        numTiles,
        firstPosition: prompt.pictures[index]!.firstPosition,
      })),
      pixels: processed.map(({ tiles }) => tiles),
    };
  }

  #processPictures(inputs: readonly PictureInput[]): Promise<ProcessedPicture[]> {
    const { pictures } = this.#options;
    if (inputs.length === 0) return Promise.resolve([]);
    if (pictures === null) {
      throw new AppError('INVALID_REQUEST', 'pictures are not supported: the model has no vision tower', {
        details: { param: 'pictures' },
      });
    }
    return Promise.all(inputs.map(({ data, label }) => pictures.process(data, label)));
  }

  #submit(
    input: GenerateInput,
    encoded: EncodedInput,
    sampling: ResolvedSampling,
    receivedMs: number,
    signal: AbortSignal,
  ): Generation {
    const { loop, text, clock } = this.#options;
    this.#numSequences += 1;
    const sequenceId = `sequence-${this.#numSequences}`;
    const running = new RunningGeneration({
      clock,
      receivedMs,
      encoded,
      output: text.createOutput({
        startsInReasoning: encoded.startsInReasoning,
        stop: sampling.stop,
        skipSpecialTokens: sampling.skipSpecialTokens,
      }),
      cancel: () => loop.cancel(sequenceId),
      onOver: () => {
        signal.removeEventListener('abort', onAbort);
        this.#release();
      },
    });
    const onAbort = (): void => running.abort(toAppError(signal.reason));
    loop.submit({
      request: {
        sequenceId,
        tokenIds: encoded.tokenIds,
        numPromptTokens: encoded.tokenIds.length,
        maxTokens: sampling.maxTokens,
        maxTokensIsDefault: sampling.maxTokensIsDefault,
        sampling: sampling.params,
        pictures: encoded.pictures,
      },
      pixels: encoded.pixels,
      listener: running,
    });
    signal.addEventListener('abort', onAbort, { once: true });
    return { requestId: input.requestId, promptTokenIds: encoded.tokenIds, deltas: running.deltas };
  }

  #release(): void {
    this.#numActive -= 1;
    if (this.#numActive === 0) this.#drained?.();
  }
}

interface RunningOptions {
  readonly clock: Clock;
  readonly receivedMs: number;
  readonly encoded: EncodedInput;
  readonly output: OutputProcessor;
  readonly cancel: () => void;
  readonly onOver: () => void;
}

/** One accepted request: ends exactly once, finished, failed or cancelled. */
class RunningGeneration implements SequenceListener {
  readonly deltas: RequestStream<GenerationDelta>;
  readonly #options: RunningOptions;
  #isOver = false;
  #startedMs: number | null = null;
  #firstTokenMs: number | null = null;
  #numTokens = 0;

  constructor(options: RunningOptions) {
    this.#options = options;
    this.deltas = new RequestStream<GenerationDelta>({
      merge: mergeDeltas,
      onCancel: () => this.abort(new AppError('CANCELLED', 'the reader left')),
    });
  }

  onStarted(): void {
    this.#startedMs ??= this.#options.clock.nowMs();
  }

  onTokens(tokens: SequenceTokens, finishReason: FinishReason | null): void {
    if (this.#isOver) return;
    this.#firstTokenMs ??= this.#options.clock.nowMs();
    this.#numTokens += tokens.tokenIds.length;
    const { output } = this.#options;
    // The token that ends the sequence is no text.
    const visible = finishReason === 'stop' ? tokens.tokenIds.slice(0, -1) : tokens.tokenIds;
    const text = output.push(visible);
    const delta: GenerationDelta = {
      reasoning: text.reasoning,
      answer: text.answer,
      tokenIds: [...tokens.tokenIds],
      logprobs: [...tokens.logprobs],
      end: null,
    };
    const reason = text.stopped ? 'stop' : finishReason;
    if (reason !== null) this.#finish(delta, reason, finishReason === null);
    else this.deltas.push(delta);
  }

  onFailure(error: AppError): void {
    this.#over(() => this.deltas.fail(error));
  }

  abort(error: AppError): void {
    this.#over(() => {
      this.#options.cancel();
      this.deltas.fail(error);
    });
  }

  /** `mustCancel`: a stop string ended it, of which the step loop knows nothing. */
  #finish(delta: GenerationDelta, finishReason: FinishReason, mustCancel: boolean): void {
    const rest = this.#options.output.finish();
    delta.reasoning += rest.reasoning;
    delta.answer += rest.answer;
    delta.end = {
      finishReason,
      text: this.#options.output.text,
      usage: this.#usage(),
      timings: this.#timings(),
    };
    this.#over(() => {
      if (mustCancel) this.#options.cancel();
      this.deltas.push(delta);
      this.deltas.end();
    });
  }

  #over(end: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    end();
    this.#options.onOver();
  }

  #usage(): GenerationUsage {
    const { tokenIds, pictures } = this.#options.encoded;
    return {
      promptTokens: tokenIds.length,
      completionTokens: this.#numTokens,
      cachedTokens: 0,
      pictureTiles: pictures.reduce((sum, picture) => sum + picture.numTiles, 0),
    };
  }

  #timings(): GenerationTimings {
    const { clock, receivedMs } = this.#options;
    const totalMs = clock.nowMs() - receivedMs;
    const ttftMs = (this.#firstTokenMs ?? clock.nowMs()) - receivedMs;
    return {
      queueMs: (this.#startedMs ?? receivedMs) - receivedMs,
      ttftMs,
      tpotMs: this.#numTokens < 2 ? 0 : (totalMs - ttftMs) / (this.#numTokens - 1),
      totalMs,
    };
  }
}

/** The ranks refuse a plan with such an id, and with it everybody's sequences: so it must not get that far. */
function checkTokenIds(tokenIds: Uint32Array, vocabSize: number): void {
  const index = tokenIds.findIndex((id) => id >= vocabSize);
  if (tokenIds.length > 0 && index < 0) return;
  const problem =
    tokenIds.length === 0
      ? 'is empty'
      : `has token ${tokenIds[index]}; the vocabulary has ${vocabSize} tokens`;
  throw new AppError('INVALID_REQUEST', `the prompt ${problem}`, { details: { param: 'prompt' } });
}

function mergeDeltas(older: GenerationDelta, newer: GenerationDelta): GenerationDelta {
  older.reasoning += newer.reasoning;
  older.answer += newer.answer;
  older.tokenIds.push(...newer.tokenIds);
  older.logprobs.push(...newer.logprobs);
  older.end = newer.end;
  return older;
}

function picturesOf(prompt: PromptInput): readonly PictureInput[] {
  if (prompt.kind === 'tokens') return prompt.pictures;
  return prompt.messages.flatMap((message) =>
    message.parts.flatMap((part) => (part.type === 'picture' ? [part.picture] : [])),
  );
}

function toChatMessages(
  messages: readonly MessageInput[],
  pictures: readonly ProcessedPicture[],
): ChatMessage[] {
  let next = 0;
  return messages.map(({ role, parts }) => ({
    role,
    parts: parts.map((part) => {
      if (part.type === 'text') return part;
      const numTiles = pictures[next]!.numTiles;
      next += 1;
      return { type: 'picture' as const, numTiles };
    }),
  }));
}
