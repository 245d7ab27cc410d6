// The public gRPC server: InferenceService, health and reflection. Parses, submits to the engine, writes no faster than
// the client reads. It is up before there is a group, and its health is the engine's.
import type * as grpc from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { systemClock } from '../../common/clock.js';
import { AppError, toAppError } from '../../common/errors.js';
import { bindServer, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { toGrpcError } from '../../common/grpc-status.js';
import { HEALTH_SERVICE_NAME, HealthServices } from '../../common/health-services.js';
import { MAX_CLIENT_MESSAGE_BYTES, MAX_CLIENT_STREAMS, STALLED_READER_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import { ReaderWatch } from '../../common/reader-watch.js';
import { ReceiveBudget, type RefusalListener } from '../../common/receive-budget.js';
import { refusingUnreadable, withTolerantReaders } from '../../common/unreadable-requests.js';
import type { AbortRequest__Output } from '../../proto/ts/skein/inference/v1/AbortRequest.js';
import type { AbortResponse } from '../../proto/ts/skein/inference/v1/AbortResponse.js';
import type { DetokenizeRequest__Output } from '../../proto/ts/skein/inference/v1/DetokenizeRequest.js';
import type { DetokenizeResponse } from '../../proto/ts/skein/inference/v1/DetokenizeResponse.js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { InferenceServiceHandlers } from '../../proto/ts/skein/inference/v1/InferenceService.js';
import type { TokenizeRequest__Output } from '../../proto/ts/skein/inference/v1/TokenizeRequest.js';
import type { TokenizeResponse } from '../../proto/ts/skein/inference/v1/TokenizeResponse.js';
import type { Engine } from '../engine/engine.js';
import type { WholeGeneration } from '../engine/generate.js';
import { fingerprintOf, IdempotentRequests } from '../engine/idempotent-requests.js';
import type { RequestSpec } from '../requests/request-spec.js';
import { originOfCall } from './call-origin.js';
import { withEncodedDeltas } from './delta-encoder.js';
import { endOfAll, streamAnswers, wholeAnswers, type AskedAnswers, type DeltaCall } from './grpc-answers.js';
import { keyOf, missing, timeoutOf, trailers, withSignal, type AnyCall } from './grpc-call.js';
import {
  toGenerateOnceResponse,
  toGetClusterResponse,
  toGetModelResponse,
  type ClusterFacts,
  type ModelFacts,
} from './inference-messages.js';
import { parseGenerateRequest } from './parse-request.js';
import { checkChoices, checkModel, invalid, type ParseContext } from './request-checks.js';
import { reflectionDefinitions } from './reflection-definitions.js';

const SERVICE_NAME = 'skein.inference.v1.InferenceService';
/** Prompts and pictures come with these; an answer's stream is open for as long as they are needed. */
const LARGE_REQUEST_PATHS = new Set([
  inferenceServiceDefinition.Generate.path,
  inferenceServiceDefinition.GenerateOnce.path,
  inferenceServiceDefinition.Tokenize.path,
]);

const GENERATION_ROUTES: ReadonlyMap<string, string> = new Map(
  (['Generate', 'GenerateOnce'] as const).map((name) => [inferenceServiceDefinition[name].path, name]),
);

export interface GrpcGatewayOptions {
  readonly address: string;
  readonly engine: Engine;
  readonly model: () => ModelFacts;
  readonly cluster: () => ClusterFacts;
  /** Of all requests that are in the server, as they came; beyond it they are refused. */
  readonly requestMemoryBytes: number;
  /** Calls with a key, whichever gateway they came by; stopped with this one. */
  readonly idempotentRequests?: IdempotentRequests;
  /** Who takes nothing of an answer for so long is cut off; default: STALLED_READER_MS. */
  readonly stalledReaderMs?: number;
  readonly logger: Logger;
}

export class GrpcGateway {
  readonly budget: ReceiveBudget;
  readonly #options: GrpcGatewayOptions;
  readonly #server: grpc.Server;
  readonly idempotentRequests: IdempotentRequests;
  readonly #health = new HealthServices([SERVICE_NAME]);
  #address = '';
  #numCalls = 0;

  private constructor(options: GrpcGatewayOptions) {
    this.#options = options;
    const { engine } = options;
    this.budget = new ReceiveBudget(options.requestMemoryBytes, () => engine.requests.rate.comeBackMs(null));
    this.idempotentRequests =
      options.idempotentRequests ?? new IdempotentRequests({ engine, clock: systemClock });
    const onRefused: RefusalListener = (...refusal) => this.#refused(...refusal);
    this.#server = createGrpcServer({
      maxMessageBytes: MAX_CLIENT_MESSAGE_BYTES,
      maxConcurrentStreams: MAX_CLIENT_STREAMS,
      admission: { budget: this.budget, paths: LARGE_REQUEST_PATHS, onRefused },
      readers: new ReaderWatch(systemClock, options.stalledReaderMs ?? STALLED_READER_MS),
    });
    const service = withEncodedDeltas(inferenceServiceDefinition);
    const handlers = refusingUnreadable(service, this.#handlers(), onRefused);
    this.#server.addService(withTolerantReaders(service), handlers);
    this.#health.addToServer(this.#server);
    // The inner protocols of the cluster are nobody's business here.
    const services = [SERVICE_NAME, HEALTH_SERVICE_NAME];
    new ReflectionService(reflectionDefinitions(), { services }).addToServer(this.#server);
  }

  static async start(options: GrpcGatewayOptions): Promise<GrpcGateway> {
    const gateway = new GrpcGateway(options);
    gateway.#address = await bindServer(gateway.#server, options.address);
    options.engine.onReadyChange((isReady) => gateway.#setHealth(isReady));
    return gateway;
  }

  get address(): string {
    return this.#address;
  }

  /** Calls that have not been answered to their end. */
  get numCalls(): number {
    return this.#numCalls;
  }

  #setHealth(isServing: boolean): void {
    const status = isServing ? 'SERVING' : 'NOT_SERVING';
    this.#health.setStatus('', status);
    this.#health.setStatus(SERVICE_NAME, status);
  }

  /** Health watches never end by themselves: those are cut when the grace is over. */
  async stop(graceMs: number): Promise<void> {
    this.#setHealth(false);
    this.idempotentRequests.stop();
    await stopServer(this.#server, graceMs);
  }

  #handlers(): InferenceServiceHandlers {
    const { model, cluster } = this.#options;
    return {
      Generate: (call) => void this.#generate(call as unknown as DeltaCall),
      GenerateOnce: (call, callback) => {
        this.#generateOnce(call).then(
          (answers) =>
            callback(
              null,
              toGenerateOnceResponse(answers),
              trailers(endOfAll(answers.map(({ end }) => end))),
            ),
          (error: unknown) => callback(toGrpcError(error, { audience: 'client' })),
        );
      },
      Tokenize: (call, callback) => this.#answer(callback, () => this.#tokenize(call)),
      Detokenize: ({ request }, callback) => this.#answer(callback, () => this.#detokenize(request)),
      Abort: ({ request }, callback) => this.#answer(callback, () => this.#abort(request)),
      GetModel: (_call, callback) => callback(null, toGetModelResponse(model())),
      GetCluster: (_call, callback) => callback(null, toGetClusterResponse(cluster())),
    };
  }

  async #generate(call: DeltaCall): Promise<void> {
    this.#numCalls += 1;
    try {
      const end = await withSignal(call, async (signal) =>
        streamAnswers(call, await this.#accept('Generate', call.request, signal, call), signal),
      );
      call.end(trailers(end));
    } catch (error) {
      this.#logFailure(error);
      call.emit('error', toGrpcError(error, { audience: 'client' }));
    } finally {
      this.#numCalls -= 1;
    }
  }

  async #generateOnce(
    call: grpc.ServerUnaryCall<{ request: GenerateRequest__Output | null }, unknown>,
  ): Promise<WholeGeneration[]> {
    this.#numCalls += 1;
    try {
      return await withSignal(call, async (signal) => {
        const { request } = call.request;
        return wholeAnswers(await this.#accept('GenerateOnce', request, signal, call), signal);
      });
    } catch (error) {
      this.#logFailure(error);
      throw error;
    } finally {
      this.#numCalls -= 1;
    }
  }

  /** A call of one message each way: what fails is told as everywhere. */
  #answer<Response>(
    callback: grpc.sendUnaryData<Response>,
    respond: () => Response | Promise<Response>,
  ): void {
    this.#numCalls += 1;
    Promise.resolve()
      .then(respond)
      .then(
        (response) => callback(null, response),
        (error: unknown) => {
          this.#logFailure(error);
          callback(toGrpcError(error, { audience: 'client' }));
        },
      )
      .finally(() => (this.#numCalls -= 1));
  }

  async #tokenize(
    call: grpc.ServerUnaryCall<TokenizeRequest__Output, TokenizeResponse>,
  ): Promise<TokenizeResponse> {
    const { request } = call.request;
    if (request === null) throw missing('request');
    const { prompt } = parseGenerateRequest(request, this.#parseContext());
    const { tokenization } = this.#options.engine;
    const tokenIds = await withSignal(call, (signal) => tokenization.tokenize(prompt, signal));
    return { tokenIds: Array.from(tokenIds), maxModelLength: this.#options.model().maxModelLength };
  }

  #detokenize({ model, tokenIds }: DetokenizeRequest__Output): DetokenizeResponse {
    if (model !== '') checkModel(model, this.#options.model().name);
    return { text: this.#options.engine.tokenization.detokenize(tokenIds, 'token_ids') };
  }

  #abort({ requestId }: AbortRequest__Output): AbortResponse {
    if (requestId === '') throw missing('request_id');
    return { numAborted: this.#options.engine.requests.abort(requestId) };
  }

  #parseContext(): ParseContext {
    const { name, vocabSize, maxTilesPerPicture } = this.#options.model();
    return { modelName: name, vocabSize, supportsPictures: maxTilesPerPicture > 0 };
  }

  /** What is asked, and of whom: a call with a key may share the answer of another. */
  async #accept(
    route: string,
    request: GenerateRequest__Output | null,
    signal: AbortSignal,
    call: AnyCall,
  ): Promise<AskedAnswers> {
    const { engine } = this.#options;
    const origin = originOfCall(route, (name) => call.metadata.get(name).map(String)[0]);
    let spec: RequestSpec;
    let numChoices = 1;
    let target: Pick<Engine, 'submit'> = engine;
    try {
      if (request === null) throw missing('request');
      spec = { ...parseGenerateRequest(request, this.#parseContext()), origin };
      numChoices = checkChoices(request.n);
      const key = keyOf(request, call);
      if (key !== null && numChoices > 1) throw invalid('idempotency_key', 'goes with calls for one answer');
      if (key !== null) {
        target = this.idempotentRequests.withKey(key, await fingerprintOf(spec));
        signal.throwIfAborted();
      }
    } catch (error) {
      engine.requests.refused({ requestId: request?.requestId ?? '', origin, error: toAppError(error) });
      throw error;
    }
    const timeoutMs = target === engine ? timeoutOf(call) : null;
    return { engine: target, spec: timeoutMs === null ? spec : { ...spec, timeoutMs }, numChoices };
  }

  /** No handler hears of these. */
  #refused(path: string, field: (name: string) => string | undefined, error: AppError): void {
    const route = GENERATION_ROUTES.get(path);
    if (route === undefined) return;
    this.#options.engine.requests.refused({ requestId: '', origin: originOfCall(route, field), error });
  }

  #logFailure(error: unknown): void {
    const code = error instanceof AppError ? error.code : 'INTERNAL';
    if (code === 'INTERNAL') this.#options.logger.error({ err: error }, 'a request failed');
    else this.#options.logger.debug({ code }, 'a request ended with an error');
  }
}
