// The public gRPC server: InferenceService, health and reflection. Parses, calls the inference core, writes no faster than the
// client reads. It never sees a rank.
import * as grpc from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { AppError } from '../../common/errors.js';
import { bindServer, createGrpcServer, stopServer } from '../../common/grpc-server.js';
import { toGrpcError } from '../../common/grpc-status.js';
import { HEALTH_SERVICE_NAME, HealthServices } from '../../common/health-services.js';
import { MAX_CLIENT_MESSAGE_BYTES } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerateRequest__Output } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { InferenceServiceHandlers } from '../../proto/ts/skein/inference/v1/InferenceService.js';
import type { Generation, GenerationEnd, InferenceService } from '../requests/inference.js';
import {
  collectGeneration,
  serverTiming,
  toGenerateResponse,
  toGetClusterResponse,
  toGetModelResponse,
  type ClusterFacts,
  type ModelFacts,
} from './inference-messages.js';
import { parseGenerateRequest } from './parse-request.js';
import { reflectionDefinitions } from './reflection-definitions.js';

const SERVICE_NAME = 'skein.inference.v1.InferenceService';
const SERVER_TIMING_KEY = 'server-timing';
const MAX_CONCURRENT_STREAMS = 1024;

export interface GrpcGatewayOptions {
  readonly address: string;
  readonly inference: InferenceService;
  readonly model: ModelFacts;
  readonly cluster: () => ClusterFacts;
  readonly logger: Logger;
}

/** The parts of a server call that deadlines and cancellation need. */
type AnyCall = grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>;

export class GrpcGateway {
  readonly #options: GrpcGatewayOptions;
  readonly #server: grpc.Server;
  readonly #health = new HealthServices([SERVICE_NAME]);
  #address = '';

  private constructor(options: GrpcGatewayOptions) {
    this.#options = options;
    this.#server = createGrpcServer({
      maxMessageBytes: MAX_CLIENT_MESSAGE_BYTES,
      maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
    });
    this.#server.addService(inferenceServiceDefinition, this.#handlers());
    this.#health.addToServer(this.#server);
    // The inner protocols of the cluster are nobody's business here.
    const services = [SERVICE_NAME, HEALTH_SERVICE_NAME];
    new ReflectionService(reflectionDefinitions(), { services }).addToServer(this.#server);
  }

  static async start(options: GrpcGatewayOptions): Promise<GrpcGateway> {
    const gateway = new GrpcGateway(options);
    gateway.#address = await bindServer(gateway.#server, options.address);
    gateway.setServing(true);
    return gateway;
  }

  get address(): string {
    return this.#address;
  }

  setServing(isServing: boolean): void {
    const status = isServing ? 'SERVING' : 'NOT_SERVING';
    this.#health.setStatus('', status);
    this.#health.setStatus(SERVICE_NAME, status);
  }

  /** Health watches never end by themselves: those are cut when the grace is over. */
  async stop(graceMs: number): Promise<void> {
    this.setServing(false);
    await stopServer(this.#server, graceMs);
  }

  #handlers(): InferenceServiceHandlers {
    const { model, cluster } = this.#options;
    return {
      Generate: (call) => void this.#generate(call),
      GenerateOnce: (call, callback) => {
        this.#generateOnce(call).then(
          ({ response, end }) => callback(null, response, trailers(end)),
          (error: unknown) => callback(toGrpcError(error, { audience: 'client' })),
        );
      },
      GetModel: (_call, callback) => callback(null, toGetModelResponse(model)),
      GetCluster: (_call, callback) => callback(null, toGetClusterResponse(cluster())),
    };
  }

  async #generate(call: grpc.ServerWritableStream<GenerateRequest__Output, GenerateResponse>): Promise<void> {
    try {
      const generation = await this.#accept(call.request, call);
      let promptTokenIds: Uint32Array | null = generation.promptTokenIds;
      let end: GenerationEnd | null = null;
      for await (const delta of generation.deltas) {
        const hasRoom = call.write(toGenerateResponse(generation.requestId, delta, promptTokenIds));
        promptTokenIds = null;
        end = delta.end;
        // Meanwhile deltas merge into one.
        if (!hasRoom) await drained(call);
      }
      call.end(trailers(end));
    } catch (error) {
      this.#logFailure(error);
      call.emit('error', toGrpcError(error, { audience: 'client' }));
    }
  }

  async #generateOnce(call: grpc.ServerUnaryCall<{ request: GenerateRequest__Output | null }, unknown>) {
    try {
      if (call.request.request === null) throw new AppError('INVALID_REQUEST', 'request is missing');
      return await collectGeneration(await this.#accept(call.request.request, call));
    } catch (error) {
      this.#logFailure(error);
      throw error;
    }
  }

  #accept(request: GenerateRequest__Output, call: AnyCall): Promise<Generation> {
    const { model, inference } = this.#options;
    const input = parseGenerateRequest(request, {
      modelName: model.name,
      vocabSize: model.vocabSize,
      supportsPictures: model.maxTilesPerPicture > 0,
    });
    return inference.generate(input, signalOf(call));
  }

  #logFailure(error: unknown): void {
    const code = error instanceof AppError ? error.code : 'INTERNAL';
    if (code === 'INTERNAL') this.#options.logger.error({ err: error }, 'a request failed');
    else this.#options.logger.debug({ code }, 'a request ended with an error');
  }
}

function trailers(end: GenerationEnd | null): grpc.Metadata {
  const metadata = new grpc.Metadata();
  if (end !== null) metadata.set(SERVER_TIMING_KEY, serverTiming(end));
  return metadata;
}

/** Aborts when the client leaves or the call's deadline passes. */
function signalOf(call: AnyCall): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => {
    const deadline = call.getDeadline();
    const hasPassed = Number(deadline) <= Date.now();
    controller.abort(
      hasPassed
        ? new AppError('DEADLINE_EXCEEDED', "the call's deadline passed")
        : new AppError('CANCELLED', 'the client cancelled the call'),
    );
  };
  if (call.cancelled) abort();
  else call.once('cancelled', abort);
  return controller.signal;
}

function drained(call: grpc.ServerWritableStream<GenerateRequest__Output, GenerateResponse>): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off('drain', done);
      call.off('cancelled', done);
      call.off('error', done);
      resolve();
    };
    call.once('drain', done);
    call.once('cancelled', done);
    call.once('error', done);
  });
}
