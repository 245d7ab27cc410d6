// A stream of the service under a fault: when it gave tokens, and how it ended.
import * as grpc from '@grpc/grpc-js';

import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { Client } from './serving-client.js';

export interface StreamEnd {
  readonly atMs: number;
  /** "completed", or the gRPC status. */
  readonly status: string;
  /** The error's code, as clients get it. */
  readonly code: string | null;
  readonly tokens: number;
}

export class WatchedStream {
  /** Resolves with the first token; rejects where it ends before. */
  readonly began: Promise<void>;
  readonly ended: Promise<StreamEnd>;
  lastTokenMs = 0;
  end: StreamEnd | null = null;

  constructor(client: Client, request: GenerateRequest) {
    const call = client.generate(request);
    let tokens = 0;
    let onFirst: () => void = () => undefined;
    let onEndless: (error: Error) => void = () => undefined;
    this.began = new Promise((resolve, reject) => {
      onFirst = resolve;
      onEndless = reject;
    });
    this.began.catch(() => undefined);
    this.ended = new Promise((resolve) => {
      const finish = (status: string, code: string | null): void => {
        if (this.end !== null) return;
        this.end = { atMs: performance.now(), status, code, tokens };
        onEndless(new Error(`a stream ended before its first token: ${status}`));
        resolve(this.end);
      };
      call.on('data', (response: GenerateResponse__Output) => {
        if (response.tokenIds.length === 0) return;
        tokens += response.tokenIds.length;
        this.lastTokenMs = performance.now();
        onFirst();
      });
      call.on('error', (error: grpc.ServiceError) => {
        const code = error.metadata?.get(ERROR_CODE_KEY)[0];
        finish(grpc.status[error.code] ?? String(error.code), typeof code === 'string' ? code : null);
      });
      call.on('end', () => finish('completed', null));
    });
  }
}
