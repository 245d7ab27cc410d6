// One loss of one worker, from the start of the service to the end of its last process: the course of lost-worker.ts.
import { allGone, isRunning, SkeinProcess } from '../../test/support/skein-process.js';
import { ask, connect, getCluster, getModel, makeIds, type Client } from './serving-client.js';
import { bytesRead, heldWeightsHash, startWorker, type StandingWorker } from './standing-workers.js';
import { WatchedStream } from './watched-stream.js';

export interface LossSettings {
  readonly workers: 'started by the service' | 'standing';
  readonly model: string;
  readonly device: 'cuda' | 'cpu';
  readonly loadFormat: string;
  readonly worldSize: number;
  readonly ranksPerDevice: number;
  readonly numStreams: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly killRank: number;
  /** A stream that has neither ended nor gone on after so long hangs. */
  readonly limitMs: number;
  readonly serveFlags: readonly string[];
}

export interface SurvivorReport {
  readonly rank: number;
  /** The same process is a rank of the group that serves again. */
  readonly isInNewGroup: boolean;
  /**
   * Alone, without a coordinator, it held the weights that it had; null for a worker that ended with its coordinator.
   */
  readonly keptWeights: boolean | null;
  /**
   * From files and sockets, from the kill until the service answered again; null where the process ended or the system
   * does not tell.
   */
  readonly bytesReadSince: number | null;
  readonly weightBytes: number;
}

/** Times in ms from the kill. */
export interface LossReport {
  readonly workers: LossSettings['workers'];
  readonly killedPid: number;
  readonly streams: readonly {
    readonly endedMs: number;
    readonly status: string;
    readonly code: string | null;
    readonly tokens: number;
  }[];
  readonly allEndedMs: number;
  /** "alone": the service formed another group. "restarted": it ended, and was started anew. */
  readonly recovery: 'alone' | 'restarted';
  /** Of the service that was restarted. */
  readonly exitCode: number | null;
  readonly exitedMs: number | null;
  /** More than one where the devices' memory was not free again yet. */
  readonly numStarts: number;
  readonly readyMs: number;
  readonly firstTokenMs: number;
  readonly survivors: readonly SurvivorReport[];
  readonly allProcessesGone: true;
  /** What was promised and does not hold. */
  readonly problems: readonly string[];
}

/** A service that takes long to end waits for a survivor that hangs; standing ones are to keep what they hold. */
export function problemsOf(
  report: Pick<LossReport, 'allEndedMs' | 'exitedMs' | 'survivors'>,
  limitMs: number,
): string[] {
  const { allEndedMs, exitedMs, survivors } = report;
  const problems = survivors
    .filter(({ keptWeights }) => keptWeights === false)
    .map(({ rank }) => `rank ${rank} lost its weights`);
  if (allEndedMs > limitMs) problems.push(`the streams ended after ${allEndedMs} ms`);
  if (exitedMs !== null && exitedMs - allEndedMs > limitMs)
    problems.push(`the service ended only ${(exitedMs - allEndedMs).toFixed(0)} ms after the streams`);
  return problems;
}

const READY_TIMEOUT_MS = 300_000;
const END_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 20_000;
const GONE_TIMEOUT_MS = 10_000;
const POLL_MS = 10;
/** Tokens that were under way when the worker was killed. */
const IN_FLIGHT_MS = 500;
const MAX_STARTS = 5;
const READY = /^serving .* on (\S+)$/m;

export async function loseWorker(settings: LossSettings): Promise<LossReport> {
  const course = new Course(settings);
  try {
    return await course.run();
  } finally {
    await course.end();
    course.killLeftOver();
  }
}

interface Rank {
  readonly rank: number;
  readonly pid: number;
  readonly weightBytes: number;
  readonly weightsHash: string | null;
  readonly bytesRead: number | null;
}

class Course {
  readonly #settings: LossSettings;
  readonly #services: SkeinProcess[] = [];
  /** In rank order; empty where the service starts its own. */
  readonly #standing: StandingWorker[] = [];
  readonly #pids = new Set<number>();
  readonly #clients: Client[] = [];

  constructor(settings: LossSettings) {
    this.#settings = settings;
  }

  async run(): Promise<LossReport> {
    const { workers, worldSize, killRank, limitMs, numStreams } = this.#settings;
    for (let rank = 0; workers === 'standing' && rank < worldSize; rank++) await this.#stand(rank);
    const service = this.#start();
    const client = await this.#ready(service);
    const ranks = await this.#ranks(client, service);
    const { groupEpoch } = await getCluster(client);
    const streams = await this.#streams(client);

    const victim = ranks[killRank]!;
    const killedMs = performance.now();
    const since = (atMs = performance.now()): number => Math.round((atMs - killedMs) * 10) / 10;
    process.kill(victim.pid, 'SIGKILL');
    // Whoever watches over the workers sees the death of one as soon as its parent does.
    const replaced = workers === 'standing' ? this.#replace(killRank) : Promise.resolve();
    replaced.catch(() => undefined);
    const exited = service.exited.then(({ code }) => ({ code, ms: since() }));
    await allEnded(streams, killedMs, limitMs);
    const left = await Promise.race([exited, anotherGroup(client, service, Number(groupEpoch))]);
    await replaced;

    const keptWeights = await this.#keptWeights(ranks, victim);
    const again = left === 'alone' ? { client, numStarts: 0 } : await this.#startAgain();
    const readyMs = since();
    let firstTokenMs = Number.NaN;
    const request = await this.#request(again.client, numStreams + 1);
    await ask(again.client, { ...request, sampling: { ...request.sampling, maxTokens: 4 } }, () => {
      firstTokenMs = since();
    });
    const pidsAgain = (await getCluster(again.client)).ranks.map(({ pid }) => pid);
    for (const pid of pidsAgain) this.#pids.add(pid);
    const ends = streams.map(({ end }) => end!);
    const report = {
      workers,
      killedPid: victim.pid,
      streams: ends.map(({ atMs, status, code, tokens }) => ({ endedMs: since(atMs), status, code, tokens })),
      allEndedMs: since(Math.max(...ends.map(({ atMs }) => atMs))),
      recovery: left === 'alone' ? ('alone' as const) : ('restarted' as const),
      exitCode: left === 'alone' ? null : left.code,
      exitedMs: left === 'alone' ? null : left.ms,
      numStarts: again.numStarts,
      readyMs,
      firstTokenMs,
      survivors: ranks
        .filter((rank) => rank !== victim)
        .map((rank) => reportSurvivor(rank, pidsAgain, keptWeights)),
    };
    await this.end();
    await allGone([...this.#pids], GONE_TIMEOUT_MS);
    return { ...report, allProcessesGone: true, problems: problemsOf(report, limitMs) };
  }

  /** Resolves when all have given a token. */
  async #streams(client: Client): Promise<WatchedStream[]> {
    const streams: WatchedStream[] = [];
    for (let index = 0; index < this.#settings.numStreams; index++)
      streams.push(new WatchedStream(client, await this.#request(client, index + 1)));
    await Promise.all(streams.map(({ began }) => began));
    return streams;
  }

  /** As a supervisor does: again while what the dead process held is not free yet. */
  async #startAgain(): Promise<{ readonly client: Client; readonly numStarts: number }> {
    for (let numStarts = 1; ; numStarts++) {
      const service = this.#start();
      try {
        return { client: await this.#ready(service), numStarts };
      } catch (error) {
        if (service.child.exitCode !== null) await service.exited;
        if (numStarts === MAX_STARTS || !/DEVICE_OUT_OF_MEMORY/.test(service.stderr)) throw error;
      }
    }
  }

  /** Asks everything that was started to end, and waits for a while. Idempotent. */
  async end(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close();
    for (const service of this.#services.splice(0)) {
      service.child.kill('SIGTERM');
      const timer = setTimeout(() => service.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await service.exited;
      clearTimeout(timer);
    }
    for (const { child } of this.#standing.splice(0)) child.kill('SIGTERM');
    const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
    while ([...this.#pids].some(isRunning) && performance.now() < deadlineMs) await pause();
  }

  /** After a course that failed: nothing that it started may hold a GPU. */
  killLeftOver(): void {
    for (const pid of [...this.#pids].filter(isRunning)) process.kill(pid, 'SIGKILL');
  }

  async #stand(rank: number): Promise<void> {
    const { device, worldSize, ranksPerDevice } = this.#settings;
    const worker = await startWorker({ device, worldSize, ranksPerDevice }, rank);
    this.#standing[rank] = worker;
    this.#pids.add(worker.pid);
  }

  async #replace(rank: number): Promise<void> {
    const { child } = this.#standing[rank]!;
    if (child.exitCode === null && child.signalCode === null)
      await new Promise((resolve) => child.once('exit', resolve));
    await this.#stand(rank);
  }

  #start(): SkeinProcess {
    const { model, device, loadFormat, worldSize, ranksPerDevice, serveFlags, workers } = this.#settings;
    const own = ranksPerDevice > 1 ? ['--ranks-per-device', String(ranksPerDevice)] : [];
    const service = SkeinProcess.real([
      'serve',
      ...['--model', model, '--device', device, '--load-format', loadFormat],
      ...['--tensor-parallel-size', String(worldSize), '--grpc-address', '127.0.0.1:0'],
      ...(workers === 'standing'
        ? ['--workers', this.#standing.map(({ address }) => address).join(',')]
        : own),
      // What it measures is the end that a supervisor sees.
      ...['--restart-policy', 'none'],
      ...serveFlags,
    ]);
    service.child.stderr?.pipe(process.stderr);
    this.#services.push(service);
    this.#pids.add(service.pid);
    return service;
  }

  async #ready(service: SkeinProcess): Promise<Client> {
    const [, address = ''] = await service.outputMatches(READY, READY_TIMEOUT_MS);
    const client = connect(address);
    this.#clients.push(client);
    return client;
  }

  /** What the cluster says of its ranks, held against the process table: a wrong process must not be killed. */
  async #ranks(client: Client, service: SkeinProcess): Promise<Rank[]> {
    const started =
      this.#settings.workers === 'standing' ? this.#standing.map(({ pid }) => pid) : service.childPids();
    const { ranks } = await getCluster(client);
    return Promise.all(
      ranks.map(async ({ rank, pid, weightBytes }, index) => {
        if (rank !== index || !started.includes(pid))
          throw new Error(`rank ${rank} says that it is process ${pid}; workers are ${started.join(', ')}`);
        this.#pids.add(pid);
        const address = this.#standing[rank]?.address;
        return {
          rank,
          pid,
          weightBytes: Number(weightBytes),
          weightsHash: address === undefined ? null : await heldWeightsHash(address),
          bytesRead: bytesRead(pid),
        };
      }),
    );
  }

  /** By process; only standing workers can be asked. */
  async #keptWeights(ranks: readonly Rank[], victim: Rank): Promise<ReadonlyMap<number, boolean>> {
    const kept = new Map<number, boolean>();
    for (const { rank, pid, weightsHash } of ranks) {
      const worker = this.#standing[rank];
      if (worker === undefined || pid === victim.pid) continue;
      kept.set(pid, weightsHash !== '' && (await heldWeightsHash(worker.address)) === weightsHash);
    }
    return kept;
  }

  async #request(client: Client, salt: number) {
    const { promptTokens, newTokens } = this.#settings;
    const model = await getModel(client);
    const maker = {
      vocabSize: model.vocabSize,
      pictureTokenId: model.pictureTokenId ?? null,
      pictureSide: 0,
      pictureFormat: 'png' as const,
    };
    return {
      promptTokenIds: makeIds(promptTokens, salt, maker),
      sampling: {
        temperature: 0,
        maxTokens: Math.min(newTokens, model.maxModelLength - promptTokens - 1),
        ignoreEos: true,
      },
    };
  }
}

function reportSurvivor(
  { rank, pid, weightBytes, bytesRead: before }: Rank,
  pidsAgain: readonly number[],
  keptWeights: ReadonlyMap<number, boolean>,
): SurvivorReport {
  const now = bytesRead(pid);
  return {
    rank,
    isInNewGroup: pidsAgain.includes(pid),
    keptWeights: keptWeights.get(pid) ?? null,
    bytesReadSince: now === null || before === null ? null : now - before,
    weightBytes,
  };
}

/** Throws for a stream that has neither ended nor gone on when the limit is reached. */
async function allEnded(streams: readonly WatchedStream[], killedMs: number, limitMs: number): Promise<void> {
  const ended = Promise.all(streams.map((stream) => stream.ended)).then(() => true);
  if (await Promise.race([ended, pause(killedMs + limitMs - performance.now())])) return;
  const silent = streams.filter(
    ({ end, lastTokenMs }) => end === null && lastTokenMs < killedMs + IN_FLIGHT_MS,
  );
  if (silent.length > 0)
    throw new Error(`${silent.length} of ${streams.length} streams hang ${limitMs} ms after the kill`);
  if (await Promise.race([ended, pause(END_TIMEOUT_MS)])) return;
  throw new Error(`streams have not ended ${END_TIMEOUT_MS} ms after they went on`);
}

/** Resolves once the service, still running, has formed a group under a higher epoch. */
async function anotherGroup(client: Client, service: SkeinProcess, epoch: number): Promise<'alone'> {
  for (;;) {
    const cluster = await getCluster(client).catch(() => null);
    if (cluster !== null && cluster.state === 'ready' && Number(cluster.groupEpoch) > epoch) return 'alone';
    // An ended service is the other outcome's.
    if (service.child.exitCode !== null) await new Promise(() => undefined);
    await pause();
  }
}

function pause(ms: number = POLL_MS): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), Math.max(ms, 0)));
}
