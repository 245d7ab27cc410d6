// `skein serve` with the native engine and both of its APIs, and a client of each.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import OpenAI from 'openai';
import { InferenceServiceClient } from '../../common/proto.js';
import { SkeinProcess } from './skein-process.js';

const START_TIMEOUT_MS = 120_000;

export class ServedApis {
  readonly skein: SkeinProcess;
  readonly grpcAddress: string;
  readonly url: string;
  readonly openai: OpenAI;
  readonly client: InstanceType<typeof InferenceServiceClient>;

  private constructor(skein: SkeinProcess, grpcAddress: string, url: string) {
    this.skein = skein;
    this.grpcAddress = grpcAddress;
    this.url = url;
    this.openai = new OpenAI({ apiKey: 'none', baseURL: `${url}/v1`, maxRetries: 0 });
    this.client = new InferenceServiceClient(grpcAddress, grpc.credentials.createInsecure());
  }

  /** `args`: of `serve`, but for its addresses. */
  static async start(args: readonly string[]): Promise<ServedApis> {
    const addresses = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
    const skein = SkeinProcess.real(['serve', ...args, ...addresses]);
    const [, grpcAddress, url] = await skein.outputMatches(
      /serving \S+ on (\S+) and (\S+)/,
      START_TIMEOUT_MS,
    );
    return new ServedApis(skein, grpcAddress!, url!);
  }

  async stop(): Promise<void> {
    this.client.close();
    this.skein.child.kill('SIGTERM');
    assert.equal((await this.skein.exited).code, 0);
  }
}
