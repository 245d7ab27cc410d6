// Many streams at once over a real coordinator and simulated ranks: how long from the end of one step to the end of the
// next, what reached the clients, and what the coordinator holds of memory and takes of its processor meanwhile.
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { repoPath } from '../../test/support/paths.js';
import { writeRandomCheckpoint } from '../../test/support/random-checkpoint.js';
import { machineProcessorMs, processorMs, residentMib } from '../process-use.js';
import { rounded } from '../statistics.js';
import { withServed } from '../with-served.js';
import type { RanksMessage } from './ranks.js';
import { summarise, type Times, type TimesSummary } from './histogram.js';
import { StreamLoad } from './stream-load.js';

export interface StreamsOptions {
  readonly streams: number;
  readonly worldSize: number;
  readonly stepMs: number;
  readonly seconds: number;
  /** Streams begin one after the other over so long, and then have as long to be in the middle of an answer. */
  readonly rampMs: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** For a processor profile of the coordinator; default null: none is taken. */
  readonly profileFolder?: string | null;
  /** Of another build, to be compared with; default null: this one's. */
  readonly main?: string | null;
}

export interface StreamsReport {
  readonly steps: number;
  /** From the end of one step to the end of the next. */
  readonly intervalMs: TimesSummary;
  /** How much longer the mean interval is than the step. */
  readonly overStep: number;
  readonly answers: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly tokensPerSecond: number;
  /** Tokens of a message in the mean: above 1 where the coordinator merged what waited. */
  readonly tokensPerMessage: number;
  /** At the client: from a request to its first message, and from one message to the next. */
  readonly firstMessageMs: TimesSummary;
  readonly messageGapMs: TimesSummary;
  /** Processor time of the coordinator, requests and all. */
  readonly coordinatorMicrosPerToken: number;
  /** Processor time over time: 1 is a core. What others took of the machine was not there to be used. */
  readonly cores: {
    readonly coordinator: number;
    readonly ranks: number;
    readonly client: number;
    readonly others: number;
  };
  /** Of the coordinator, resident, over the time. */
  readonly memoryMib: readonly { readonly seconds: number; readonly mib: number }[];
}

const NUM_SAMPLES = 60;

export async function measureStreams(options: StreamsOptions): Promise<StreamsReport> {
  const { worldSize, stepMs, streams, profileFolder = null, main = null } = options;
  const folder = makeModel(worldSize);
  const ranks = fork(
    main === null
      ? repoPath('dist', 'bench', 'streams', 'ranks.js')
      : path.join(path.dirname(main), '..', 'dist', 'bench', 'streams', 'ranks.js'),
    [String(worldSize), String(stepMs)],
  );
  try {
    const { addresses } = (await messageOf(ranks)) as { readonly addresses: readonly string[] };
    const args = [
      ...['--model', folder, '--device', 'cpu', '--max-model-length', '2048'],
      ...['--tensor-parallel-size', String(worldSize), '--workers', addresses.join(',')],
      ...['--max-num-sequences', String(streams), '--max-step-tokens', String(streams + 1024)],
      ...['--grpc-address', '127.0.0.1:0', '--log-level', 'warn'],
    ];
    const nodeArgs = profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    return await withServed(args, ({ grpc: address, pid }) => underLoad(options, address, pid, ranks), {
      nodeArgs,
      ...(main === null ? {} : { main }),
    });
  } finally {
    if (ranks.connected) ranks.disconnect();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The bundled model's tokenizer, as many heads as there are ranks, and weights that nobody reads. */
function makeModel(worldSize: number): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-streams-'));
  const heads = { numHeads: worldSize, numKvHeads: worldSize, hiddenSize: 16 * worldSize };
  writeRandomCheckpoint(folder, { ...heads, numLayers: 1, intermediateSize: 64 * worldSize, vocabSize: 602 });
  return folder;
}

async function underLoad(
  options: StreamsOptions,
  address: string,
  pid: number,
  ranks: ChildProcess,
): Promise<StreamsReport> {
  const load = new StreamLoad(options, address);
  load.start();
  await sleep(2 * options.rampMs);
  load.firstMs.take();
  load.gapMs.take();
  const before = { ...load.totals };
  const cpu = {
    machine: machineProcessorMs(),
    own: process.cpuUsage(),
    coordinator: processorMs(pid),
    ranks: (await intervalsOf(ranks)).cpuMs,
  };
  const startMs = performance.now();
  const memoryMib: { seconds: number; mib: number }[] = [];
  for (let sample = 0; sample <= NUM_SAMPLES; sample++) {
    const seconds = (performance.now() - startMs) / 1000;
    memoryMib.push({ seconds: rounded(seconds), mib: rounded(residentMib(pid)) });
    await sleep(Math.max(0, ((sample + 1) * options.seconds * 1000) / (NUM_SAMPLES + 1) - seconds * 1000));
  }
  const ended = await intervalsOf(ranks);
  const wallMs = performance.now() - startMs;
  const own = process.cpuUsage(cpu.own);
  const clientMs = (own.user + own.system) / 1000;
  const machineMs = machineProcessorMs() - cpu.machine;
  const { tokens, messages, answers } = load.totals;
  const failures = load.failures;
  const coordinatorMs = processorMs(pid) - cpu.coordinator;
  const ranksMs = ended.cpuMs - cpu.ranks;
  const cores = {
    coordinator: rounded(coordinatorMs / wallMs),
    ranks: rounded(ranksMs / wallMs),
    client: rounded(clientMs / wallMs),
    others: rounded((machineMs - coordinatorMs - ranksMs - clientMs) / wallMs),
  };
  load.stop();
  const intervalMs = summarise(ended.intervals);
  return {
    steps: ended.intervals.count,
    intervalMs,
    overStep: rounded(intervalMs.mean / options.stepMs - 1),
    answers: answers - before.answers,
    failures,
    tokensPerSecond: Math.round(((tokens - before.tokens) * 1000) / wallMs),
    tokensPerMessage: rounded((tokens - before.tokens) / (messages - before.messages)),
    firstMessageMs: summarise(load.firstMs.take()),
    messageGapMs: summarise(load.gapMs.take()),
    coordinatorMicrosPerToken: rounded((coordinatorMs * 1000) / (tokens - before.tokens)),
    cores,
    memoryMib,
  };
}

function intervalsOf(ranks: ChildProcess): Promise<{ readonly intervals: Times; readonly cpuMs: number }> {
  const answer = messageOf(ranks);
  ranks.send('intervals');
  return answer as Promise<{ readonly intervals: Times; readonly cpuMs: number }>;
}

function messageOf(ranks: ChildProcess): Promise<RanksMessage> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`the ranks ended with ${code}`));
    ranks.once('exit', onExit);
    ranks.once('message', (message) => {
      ranks.off('exit', onExit);
      resolve(message as RanksMessage);
    });
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
