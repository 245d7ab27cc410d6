// The course of kills.ts, from the start of the service to the end of its last process.
import type * as grpc from '@grpc/grpc-js';

import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { allGone, isRunning, SkeinProcess } from '../../test/support/skein-process.js';
import { connect, getCluster, getModel, makeIds, type Client, type RequestMaker } from './serving-client.js';

export interface KillSettings {
  readonly model: string;
  readonly device: 'cuda' | 'cpu';
  readonly worldSize: number;
  readonly ranksPerDevice: number;
  readonly numKills: number;
  readonly numStreams: number;
  /** Different ones; each is asked again and again. */
  readonly numRequests: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Of who is killed when. */
  readonly seed: number;
  readonly limitMs: number;
  readonly serveFlags: readonly string[];
}

export interface Kill {
  readonly rank: number;
  readonly pid: number;
  readonly epoch: number;
  /** From the kill to the first token of the next epoch, over all streams. */
  readonly nextTokenMs: number;
}

export interface KillReport {
  readonly kills: readonly Kill[];
  /** While workers were killed. */
  readonly numAnswers: number;
  readonly numTokens: number;
  readonly problems: readonly string[];
}

const READY_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 20_000;
const GONE_TIMEOUT_MS = 10_000;
const POLL_MS = 5;
/** Between a recovery and the next kill, at most. */
const LONGEST_PAUSE_MS = 1000;
/** What comes so soon after a kill was under way. */
const IN_FLIGHT_MS = 200;
const READY = /^serving .* on (\S+)$/m;

export async function killWorkers(settings: KillSettings): Promise<KillReport> {
  const service = start(settings);
  const pids = new Set([service.pid]);
  try {
    const [, address = ''] = await service.outputMatches(READY, READY_TIMEOUT_MS);
    const client = connect(address);
    try {
      return await new Course(settings, client, service, pids).run();
    } finally {
      client.close();
    }
  } finally {
    service.child.kill('SIGTERM');
    const timer = setTimeout(() => service.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await service.exited;
    clearTimeout(timer);
    try {
      await allGone([...pids], GONE_TIMEOUT_MS);
    } finally {
      // Nothing that was started may hold a GPU.
      for (const pid of [...pids].filter(isRunning)) process.kill(pid, 'SIGKILL');
    }
  }
}

function start({ model, device, worldSize, ranksPerDevice, serveFlags }: KillSettings): SkeinProcess {
  const service = SkeinProcess.real([
    'serve',
    ...['--model', model, '--device', device, '--deterministic'],
    ...['--tensor-parallel-size', String(worldSize), '--grpc-address', '127.0.0.1:0'],
    ...(ranksPerDevice > 1 ? ['--ranks-per-device', String(ranksPerDevice)] : []),
    ...serveFlags,
  ]);
  service.child.stderr?.pipe(process.stderr);
  return service;
}

class Course {
  readonly #settings: KillSettings;
  readonly #client: Client;
  readonly #service: SkeinProcess;
  readonly #pids: Set<number>;
  readonly #problems: string[] = [];
  #isOver = false;
  #numTokens = 0;
  #lastTokenMs = 0;
  #random: number;

  constructor(settings: KillSettings, client: Client, service: SkeinProcess, pids: Set<number>) {
    this.#settings = settings;
    this.#client = client;
    this.#service = service;
    this.#pids = pids;
    this.#random = settings.seed;
  }

  async run(): Promise<KillReport> {
    const requests = await this.#requests();
    const expected: string[] = [];
    await this.#inStreams(requests.length, async (index) => {
      expected[index] = await this.#ask(requests[index]!);
    });
    this.#numTokens = 0;

    let numAnswers = 0;
    const load = this.#inStreams(Number.POSITIVE_INFINITY, async (number) => {
      const index = number % requests.length;
      try {
        const answer = await this.#ask(requests[index]!);
        numAnswers++;
        if (answer !== expected[index])
          this.#problems.push(`answer ${index} became ${answer} instead of ${expected[index]}`);
      } catch (error) {
        this.#problems.push(`request ${index} failed: ${(error as Error).message}`);
      }
    });
    const kills: Kill[] = [];
    try {
      while (kills.length < this.#settings.numKills && this.#problems.length === 0)
        kills.push(await this.#kill());
    } finally {
      this.#isOver = true;
    }
    await load;
    return { kills, numAnswers, numTokens: this.#numTokens, problems: this.#problems };
  }

  /** Half of them greedy, the others sampled under a seed. */
  async #requests(): Promise<GenerateRequest[]> {
    const { numRequests, promptTokens, newTokens } = this.#settings;
    const model = await getModel(this.#client);
    const maker: RequestMaker = {
      vocabSize: model.vocabSize,
      pictureTokenId: model.pictureTokenId ?? null,
      pictureSide: 0,
      pictureFormat: 'png',
    };
    return Array.from({ length: numRequests }, (_, index) => ({
      promptTokenIds: makeIds(promptTokens + (index % 7), index + 1, maker),
      sampling: {
        ...(index % 2 === 0 ? { temperature: 0 } : { temperature: 1, topP: 0.95, repetitionPenalty: 1.05 }),
        seed: index,
        maxTokens: Math.min(newTokens + (index % 11), model.maxModelLength - promptTokens - 8),
        ignoreEos: true,
      },
    }));
  }

  /** body(0), body(1), ..., numStreams of them at a time, until `count` or the end of the course. */
  async #inStreams(count: number, body: (index: number) => Promise<void>): Promise<void> {
    let next = 0;
    const stream = async (): Promise<void> => {
      while (next < count && !this.#isOver) await body(next++);
    };
    await Promise.all(Array.from({ length: this.#settings.numStreams }, stream));
  }

  /** The answer's ids. */
  #ask(request: GenerateRequest): Promise<string> {
    return new Promise((resolve, reject) => {
      const ids: number[] = [];
      const call = this.#client.generate(request);
      call.on('data', ({ tokenIds }: GenerateResponse__Output) => {
        if (tokenIds.length === 0) return;
        ids.push(...tokenIds);
        this.#numTokens += tokenIds.length;
        this.#lastTokenMs = performance.now();
      });
      call.on('error', (error: grpc.ServiceError) => {
        reject(new Error(`${String(error.metadata?.get(ERROR_CODE_KEY)[0])} after ${ids.length} tokens`));
      });
      call.on('end', () => resolve(ids.join(' ')));
    });
  }

  /** One worker, at some moment; returns when the streams go on. */
  async #kill(): Promise<Kill> {
    await pause(this.#below(LONGEST_PAUSE_MS));
    const { groupEpoch, ranks } = await getCluster(this.#client);
    const { rank, pid } = ranks[this.#below(ranks.length)]!;
    const workers = this.#service.childPids();
    for (const worker of workers) this.#pids.add(worker);
    if (!workers.includes(pid))
      throw new Error(`rank ${rank} says that it is process ${pid}; workers are ${workers.join(', ')}`);
    const killedMs = performance.now();
    process.kill(pid, 'SIGKILL');
    for (;;) {
      if (performance.now() > killedMs + this.#settings.limitMs)
        throw new Error(`the streams stand still ${this.#settings.limitMs} ms after rank ${rank} was killed`);
      if (this.#service.child.exitCode !== null) throw new Error('the service ended');
      await pause(POLL_MS);
      if (this.#lastTokenMs < killedMs + IN_FLIGHT_MS) continue;
      const nextTokenMs = this.#lastTokenMs - killedMs;
      // Whoever answers belongs to the next epoch.
      const cluster = await getCluster(this.#client);
      if (Number(cluster.groupEpoch) <= Number(groupEpoch)) continue;
      return { rank, pid, epoch: Number(groupEpoch), nextTokenMs: Math.round(nextTokenMs) };
    }
  }

  /** 0 .. limit - 1. */
  #below(limit: number): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#random / 2 ** 32) * limit);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
