// What a dead coordinator costs: real workers that outlive it, a real `skein serve` over them that is killed while it
// answers, and the next one, started at once. Measured from the kill until it serves and until it gives a token, with
// what every worker read for it. Throws where anything is left or nothing comes.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';

import * as grpc from '@grpc/grpc-js';

import { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { allGone, SkeinProcess } from '../../test/support/skein-process.js';

export interface RestartSettings {
  readonly model: string;
  readonly worldSize: number;
  /** Kills. */
  readonly rounds: number;
  /** Workers register with the coordinator, or it names them. */
  readonly workers: 'registered' | 'named';
  /** Of `skein serve`, beside these. */
  readonly serveFlags: readonly string[];
  readonly promptTokenIds: readonly number[];
  readonly maxTokens: number;
}

export interface RestartRound {
  /** From the kill, or from the first start. */
  readonly servingMs: number;
  readonly firstTokenMs: number;
  readonly groupEpoch: number;
  /** Of weights, by rank. */
  readonly readBytes: readonly number[];
  /** Processes, by rank. */
  readonly pids: readonly number[];
  readonly tokenIds: readonly number[];
}

interface Coordinator {
  readonly process: SkeinProcess;
  readonly client: InstanceType<typeof InferenceServiceClient>;
}

const TIMEOUT_MS = 120_000;

/** The first start, then as many restarts as kills. */
export async function restartCoordinator(settings: RestartSettings): Promise<RestartRound[]> {
  const course = new RestartCourse(settings);
  try {
    return await course.run();
  } finally {
    await course.stop();
  }
}

class RestartCourse {
  readonly #settings: RestartSettings;
  readonly #workers: SkeinProcess[] = [];
  #coordinator: Coordinator | null = null;

  constructor(settings: RestartSettings) {
    this.#settings = settings;
  }

  async run(): Promise<RestartRound[]> {
    const { workers, worldSize, rounds } = this.#settings;
    const clusterAddress = await freeAddress();
    const where = workers === 'registered' ? ['--coordinator', clusterAddress] : [];
    for (let index = 0; index < worldSize; index += 1) {
      const args = ['worker', ...where, '--listen', '127.0.0.1:0', '--worker-id', `w${index}`];
      this.#workers.push(SkeinProcess.real([...args, '--threads', '1', '--log-level', 'info']));
    }
    const addresses = await Promise.all(this.#workers.map(addressOf));
    const flags =
      workers === 'registered'
        ? ['--cluster-address', clusterAddress, '--tensor-parallel-size', String(worldSize)]
        : ['--workers', addresses.join(',')];
    const results = [await this.#serve(flags, performance.now())];
    for (let round = 0; round < rounds; round += 1) {
      await this.#begin();
      const killedMs = performance.now();
      this.#coordinator!.process.child.kill('SIGKILL');
      this.#coordinator!.client.close();
      results.push(await this.#serve(flags, killedMs));
    }
    return results;
  }

  async stop(): Promise<void> {
    this.#coordinator?.client.close();
    const all = [this.#coordinator?.process, ...this.#workers].filter((each) => each !== undefined);
    for (const each of all) await each.killed();
    await allGone(
      all.map(({ pid }) => pid),
      5_000,
    );
  }

  async #serve(flags: readonly string[], sinceMs: number): Promise<RestartRound> {
    const { model, serveFlags } = this.#settings;
    const args = ['serve', '--model', model, '--grpc-address', '127.0.0.1:0', '--log-level', 'silent'];
    const process = SkeinProcess.real([...args, ...flags, ...serveFlags]);
    const [, address] = await process.outputMatches(/^serving \S+ on (\S+)/m, TIMEOUT_MS);
    const servingMs = performance.now() - sinceMs;
    const client = new InferenceServiceClient(address!, grpc.credentials.createInsecure());
    this.#coordinator = { process, client };
    let firstTokenMs = 0;
    const tokenIds: number[] = [];
    await this.#answer((ids) => {
      if (firstTokenMs === 0) firstTokenMs = performance.now() - sinceMs;
      tokenIds.push(...ids);
    });
    const { ranks, groupEpoch } = await cluster(client);
    return {
      servingMs,
      firstTokenMs,
      groupEpoch: Number(groupEpoch),
      readBytes: ranks.map(({ readBytes }) => Number(readBytes)),
      pids: ranks.map(({ pid }) => pid),
      tokenIds,
    };
  }

  /** Resolves with the first token of an answer that then goes on. */
  async #begin(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#answer(() => resolve()).catch(reject);
    });
  }

  async #answer(onTokens: (tokenIds: readonly number[]) => void): Promise<void> {
    const { promptTokenIds, maxTokens } = this.#settings;
    const request = {
      promptTokenIds: [...promptTokenIds],
      sampling: { maxTokens, ignoreEos: true, temperature: 0 },
    };
    const call = this.#coordinator!.client.generate(request);
    call.on('data', ({ tokenIds }: GenerateResponse__Output) => {
      if (tokenIds.length > 0) onTokens(tokenIds);
    });
    await new Promise((resolve, reject) => call.on('end', resolve).on('error', reject));
  }
}

/** What holds over all rounds: no weight read again, by the same processes, epochs rise, the same answer. */
export function checkRestarts([first, ...later]: readonly RestartRound[]): void {
  assert.ok(first!.readBytes.every((bytes) => bytes > 0));
  let { groupEpoch } = first!;
  for (const round of later) {
    assert.deepEqual(
      round.readBytes,
      first!.readBytes.map(() => 0),
    );
    assert.deepEqual(round.pids, first!.pids);
    assert.deepEqual(round.tokenIds, first!.tokenIds);
    assert.ok(round.groupEpoch > groupEpoch, `epoch ${round.groupEpoch} after ${groupEpoch}`);
    groupEpoch = round.groupEpoch;
  }
}

/** Where a worker listens, by its log. */
export async function addressOf(worker: SkeinProcess): Promise<string> {
  const deadline = Date.now() + TIMEOUT_MS;
  for (;;) {
    const match = /"address":"([^"]+)"/.exec(worker.stderr);
    if (match !== null) return match[1]!;
    assert.ok(worker.child.exitCode === null && Date.now() < deadline, worker.stderr);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Free when it was asked for. */
function freeAddress(): Promise<string> {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(`127.0.0.1:${port}`));
    });
  });
}

function cluster(client: Coordinator['client']): Promise<GetClusterResponse__Output> {
  return new Promise((resolve, reject) =>
    client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
  );
}
