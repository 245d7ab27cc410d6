// A `skein serve` that is to be disturbed: its process, its workers' processes, and what its log tells of epochs.
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { SkeinProcess, type SpawnOptions } from '../../test/support/skein-process.js';
import type { Client } from './steady-load.js';

/** A line of the log, as far as it is of interest. */
interface LogLine {
  readonly time: string;
  readonly msg: string;
  readonly code?: string;
  /** Of changes to the membership. */
  readonly kind?: 'joined' | 'left' | 'lost';
  readonly workerId?: string;
  readonly err?: { readonly message: string };
  readonly recovery?: {
    readonly phasesMs: Readonly<Record<string, number>>;
    readonly readBytes: number;
  };
}

export interface EpochFailure {
  readonly atMs: number;
  readonly code: string;
  readonly message: string;
}

export interface Recovered {
  readonly atMs: number;
  /** Since the loss was known. */
  readonly phasesMs: Readonly<Record<string, number>>;
  readonly readBytes: number;
}

const START_TIMEOUT_MS = 120_000;

export class Served {
  readonly process: SkeinProcess;
  readonly failures: EpochFailure[] = [];
  readonly recoveries: Recovered[] = [];
  /** Ids of workers that have registered and are not lost. */
  readonly registered = new Set<string>();
  readonly #stderr: { partial: string } = { partial: '' };
  #client: Client | null = null;

  /** `flags`: beyond the address, where they name none, and the level of the log. */
  constructor(flags: readonly string[], options: SpawnOptions = {}) {
    const args = ['serve', '--grpc-address', '127.0.0.1:0', '--log-level', 'info', ...flags];
    this.process = SkeinProcess.real(args, options);
    this.process.child.stderr?.on('data', (chunk: string) => this.#read(chunk));
  }

  get client(): Client {
    if (this.#client === null) throw new Error('it does not serve yet');
    return this.#client;
  }

  async ready(): Promise<void> {
    const [, address] = await this.process.outputMatches(/serving \S+ on (\S+)/, START_TIMEOUT_MS);
    this.#client = new InferenceServiceClient(address!, grpc.credentials.createInsecure());
  }

  cluster(): Promise<GetClusterResponse__Output> {
    return new Promise((resolve, reject) =>
      this.client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
    );
  }

  /** In rank order. */
  async workerPids(): Promise<number[]> {
    return (await this.cluster()).ranks.map(({ pid }) => pid);
  }

  async stop(): Promise<number | null> {
    this.#client?.close();
    this.process.child.kill('SIGTERM');
    return (await this.process.exited).code;
  }

  #read(chunk: string): void {
    const lines = (this.#stderr.partial + chunk).split('\n');
    this.#stderr.partial = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('{')) continue;
      const { time, msg, code, kind, workerId, err, recovery } = JSON.parse(line) as LogLine;
      const atMs = Date.parse(time);
      if (msg === 'the epoch failed')
        this.failures.push({ atMs, code: code ?? '', message: err?.message ?? '' });
      else if (msg === 'recovered' && recovery !== undefined) this.recoveries.push({ atMs, ...recovery });
      else if (msg === 'membership' && kind === 'joined') this.registered.add(workerId!);
      else if (msg === 'membership') this.registered.delete(workerId!);
    }
  }
}
