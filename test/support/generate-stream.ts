// A streamed answer of a `skein serve` process, as a client sees it.
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { SkeinProcess } from './skein-process.js';

export interface GenerateStream {
  /** Of the answer, so far. */
  readonly tokens: readonly number[];
  /** Null: it ended well. */
  readonly ended: Promise<grpc.ServiceError | null>;
  close(): void;
}

async function connectTo(server: SkeinProcess) {
  const [, address] = await server.outputMatches(/serving \S+ on (\S+)/);
  return new InferenceServiceClient(address!, grpc.credentials.createInsecure());
}

/** Resolves when the stream has begun to give tokens, or has ended. */
export async function startStream(server: SkeinProcess, maxTokens: number): Promise<GenerateStream> {
  return streamFrom(await connectTo(server), maxTokens);
}

export async function streamFrom(
  client: InstanceType<typeof InferenceServiceClient>,
  maxTokens: number,
): Promise<GenerateStream> {
  const call = client.generate({ promptTokenIds: [5, 6, 7], sampling: { maxTokens } });
  const tokens: number[] = [];
  let onFirst: () => void;
  const first = new Promise<void>((resolve) => (onFirst = resolve));
  call.on('data', (message: GenerateResponse__Output) => {
    tokens.push(...message.tokenIds);
    onFirst();
  });
  const ended = new Promise<grpc.ServiceError | null>((resolve) => {
    call.on('error', (error) => resolve(error as grpc.ServiceError));
    call.on('end', () => resolve(null));
  });
  await Promise.race([first, ended]);
  return { tokens, ended, close: () => client.close() };
}
