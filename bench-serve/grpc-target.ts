// Skein over gRPC (skein.inference.v1).
import * as grpc from '@grpc/grpc-js';
import { AppError } from '../common/errors.js';
import { clusterChannelOptions } from '../common/grpc-client.js';
import { ERROR_CODE_KEY, fromGrpcError } from '../common/grpc-status.js';
import { MAX_CLIENT_MESSAGE_BYTES } from '../common/limits.js';
import { InferenceServiceClient } from '../common/proto.js';
import type { GenerateRequest } from '../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetModelResponse__Output } from '../proto/ts/skein/inference/v1/GetModelResponse.js';
import type { TokenizeResponse__Output } from '../proto/ts/skein/inference/v1/TokenizeResponse.js';
import { RequestFailure } from './failure.js';
import {
  DESCRIBE_TIMEOUT_MS,
  type AnswerEnd,
  type Prompt,
  type Sampling,
  type Served,
  type Target,
  type TargetRequest,
} from './target.js';

export interface GrpcTargetOptions extends Sampling {
  readonly address: string;
  /** A connection carries a limited number of calls at once. */
  readonly connections: number;
  /** Empty: the one that is served. */
  readonly model: string;
  /** Metadata of every call. */
  readonly headers: Readonly<Record<string, string>>;
}

type Client = InstanceType<typeof InferenceServiceClient>;

export class GrpcTarget implements Target {
  readonly #options: GrpcTargetOptions;
  readonly #clients: readonly Client[];
  readonly #metadata = new grpc.Metadata();
  #numAsked = 0;

  constructor(options: GrpcTargetOptions) {
    this.#options = options;
    for (const [name, value] of Object.entries(options.headers)) this.#metadata.set(name, value);
    const channelOptions = clusterChannelOptions({
      'grpc.max_receive_message_length': MAX_CLIENT_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_CLIENT_MESSAGE_BYTES,
      // Channels to one address would share a connection.
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#clients = Array.from(
      { length: options.connections },
      () => new InferenceServiceClient(options.address, grpc.credentials.createInsecure(), channelOptions),
    );
  }

  async describe(): Promise<Served> {
    // Every connection is made before the first request is due.
    const answers = await Promise.all(
      this.#clients.map((client) =>
        this.#unary<GetModelResponse__Output>((callback) =>
          client.getModel({}, this.#metadata, { deadline: Date.now() + DESCRIBE_TIMEOUT_MS }, callback),
        ),
      ),
    );
    const [model] = answers as [GetModelResponse__Output];
    return {
      model: model.model,
      facts: {
        architecture: model.architecture,
        computeType: model.computeType,
        ...(model.quantization === '' ? {} : { quantization: model.quantization }),
        ...(model.visionQuantization === '' ? {} : { visionQuantization: model.visionQuantization }),
        ...(model.kvCacheDtype === '' ? {} : { kvCacheDtype: model.kvCacheDtype }),
        loadFormat: model.loadFormat,
        maxModelLength: model.maxModelLength,
        deterministic: model.deterministic,
      },
      vocabSize: model.vocabSize,
      pictureTokenId: model.pictureTokenId ?? null,
    };
  }

  async tokenize(text: string, asChat: boolean): Promise<readonly number[] | null> {
    // Generate knows no text without the template.
    if (!asChat) return null;
    const { tokenIds } = await this.#unary<TokenizeResponse__Output>((callback) =>
      this.#clients[0]!.tokenize({ request: { text } }, this.#metadata, callback),
    );
    return tokenIds;
  }

  ask(request: TargetRequest, onTokens: () => void, signal: AbortSignal): Promise<AnswerEnd> {
    const client = this.#clients[this.#numAsked++ % this.#clients.length]!;
    return new Promise((resolve, reject) => {
      const call = client.generate(this.#message(request), this.#metadata);
      const abort = (): void => call.cancel();
      signal.addEventListener('abort', abort, { once: true });
      const tokenIds: number[] = [];
      let text = '';
      let last: GenerateResponse__Output | null = null;
      call.on('data', (response: GenerateResponse__Output) => {
        if (response.tokenIds.length > 0) onTokens();
        for (const id of response.tokenIds) tokenIds.push(id);
        text += response.answerDelta;
        last = response;
      });
      call.on('error', (error: grpc.ServiceError) => {
        signal.removeEventListener('abort', abort);
        reject(signal.aborted ? new RequestFailure('ABORTED', 'aborted') : failureOf(error));
      });
      call.on('end', () => {
        signal.removeEventListener('abort', abort);
        // After an error too, which has rejected by then.
        const usage = last?.usage ?? null;
        if (usage === null) reject(new RequestFailure('INCOMPLETE', 'the stream ended without usage'));
        else
          resolve({
            usage: {
              promptTokens: usage.promptTokens,
              completionTokens: usage.completionTokens,
              cachedTokens: usage.cachedTokens,
            },
            tokenIds,
            text,
          });
      });
    });
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #message({ id, prompt, maxTokens }: TargetRequest): GenerateRequest {
    const { model, temperature, ignoreEos, priority } = this.#options;
    return {
      requestId: id,
      model,
      ...promptFields(prompt),
      sampling: { maxTokens, ignoreEos, ...(temperature === null ? {} : { temperature }) },
      priority: priority ?? 0,
    };
  }

  #unary<T>(call: (callback: (error: grpc.ServiceError | null, response?: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      call((error, response) => {
        if (error === null) {
          resolve(response!);
          return;
        }
        const { code, message } = fromGrpcError(error, { unavailable: 'NOT_READY' });
        reject(new AppError(code, `${this.#options.address}: ${message}`, { cause: error }));
      });
    });
  }
}

function promptFields(prompt: Prompt): GenerateRequest {
  switch (prompt.kind) {
    case 'ids':
      return {
        promptTokenIds: [...prompt.ids],
        pictures: prompt.pictures.map(({ bytes }) => ({ data: bytes })),
      };
    case 'text':
      throw new AppError('INVALID_REQUEST', 'gRPC has no prompts without a template but those of ids');
    case 'messages':
      return {
        messages: prompt.messages.map(({ role, parts }) => ({
          role,
          content: parts.map((part) =>
            part.kind === 'text' ? { text: part.text } : { picture: { data: part.picture.bytes } },
          ),
        })),
      };
  }
}

/** By our own code, where the server gives it. */
function failureOf(error: grpc.ServiceError): RequestFailure {
  const named = error.metadata?.get(ERROR_CODE_KEY)[0];
  const code = typeof named === 'string' ? named : (grpc.status[error.code] ?? 'UNKNOWN');
  const { message, details, code: nearest } = fromGrpcError(error, { unavailable: 'NOT_READY' });
  const { param } = details;
  return new RequestFailure(code, message, {
    // Without our code it is gRPC's word for a connection that broke, not a bug's.
    error: nearest === 'INTERNAL' && nearest !== code ? 'NOT_READY' : nearest,
    param: typeof param === 'string' ? param : null,
    cause: error,
  });
}
