// The coordinator's own time, over workers whose steps take none: from a gRPC request to its first plan and first
// token, and a step with 64 sequences running. Builds given with --build take turns within one run, so that before and
// after share the machine's moods.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { describeMachine } from '../machine.js';
import { processorMs } from '../process-use.js';
import { summary, type Summary } from '../statistics.js';

type Client = InstanceType<typeof InferenceServiceClient>;

interface Flags {
  readonly build: readonly string[];
  readonly rounds: number;
  readonly requests: number;
  readonly output?: string;
}

interface Build {
  readonly name: string;
  readonly folder: string;
  readonly flags: readonly string[];
  readonly commit: string;
  readonly samples: Samples;
}

/** Milliseconds by prompt: at the client until the first message, and at the server until the first plan. */
interface Samples {
  readonly firstMessageMs: Record<string, number[]>;
  readonly firstPlanMs: Record<string, number[]>;
  /** Processor time of the server's process, all threads: what it costs, whatever else the machine does. */
  readonly cpuMs: Record<string, number[]>;
  readonly stepMs: number[];
  readonly stepCpuMs: number[];
}

const NUM_RUNNING = 64;
const NUM_TOKENS = 700;
const PROMPTS: Readonly<Record<string, GenerateRequest>> = {
  'token ids': { promptTokenIds: [5, 6, 7, 8, 9, 10] },
  'short text': { text: 'Why is the sky blue?' },
  'text of 600 characters': { text: 'Why is the sky blue, and not green? '.repeat(17).slice(0, 600) },
};

async function startServer(
  folder: string,
  flags: readonly string[],
): Promise<{ child: ChildProcess; client: Client }> {
  const main = path.join(folder, 'dist', 'test', 'support', 'fake-skein-main.js');
  const model = path.join(folder, 'test', 'golden', 'tiny-6b-vit');
  const child = spawn(
    process.execPath,
    [
      ...[main, 'serve', '--model', model, '--dtype', 'float32', '--tensor-parallel-size', '1'],
      ...[
        '--max-num-sequences',
        String(NUM_RUNNING),
        '--grpc-address',
        '127.0.0.1:0',
        '--log-level',
        'silent',
      ],
      ...flags,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, SKEIN_FAKE_ENGINE: '{}' } },
  );
  const address = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const match = /serving \S+ on (\S+)/.exec(text);
      if (match !== null) resolve(match[1]!);
    });
    child.once('exit', () => reject(new Error(`${folder}: the server ended: ${text}`)));
  });
  return { child, client: new InferenceServiceClient(address, grpc.credentials.createInsecure()) };
}

async function askOnce(client: Client, request: GenerateRequest): Promise<{ first: number; plan: number }> {
  const startMs = performance.now();
  let first = Number.NaN;
  let plan = Number.NaN;
  for await (const message of client.generate({ ...request, sampling: { maxTokens: 1 } })) {
    if (Number.isNaN(first)) first = performance.now() - startMs;
    plan = (message as GenerateResponse__Output).timings?.queueMs ?? plan;
  }
  return { first, plan };
}

function completedSteps(client: Client): Promise<number> {
  return new Promise((resolve, reject) =>
    client.getCluster({}, (error, value) =>
      error === null ? resolve(Number(value?.completedSteps)) : reject(error),
    ),
  );
}

/** Milliseconds a step, and of the server's processor, while as many sequences run as there is room for. */
async function stepTime(client: Client, pid: number): Promise<{ wall: number; cpu: number }> {
  const before = await completedSteps(client);
  const startCpuMs = processorMs(pid);
  const startMs = performance.now();
  await Promise.all(
    Array.from(
      { length: NUM_RUNNING },
      (_, index) =>
        new Promise<void>((resolve, reject) => {
          const request = {
            promptTokenIds: [5, 6, 7 + index],
            sampling: { maxTokens: NUM_TOKENS, ignoreEos: true },
          };
          client.generateOnce({ request }, (error) => (error === null ? resolve() : reject(error)));
        }),
    ),
  );
  const wallMs = performance.now() - startMs;
  const cpuMs = processorMs(pid) - startCpuMs;
  const numSteps = (await completedSteps(client)) - before;
  return { wall: wallMs / numSteps, cpu: cpuMs / numSteps };
}

async function measure({ folder, flags, samples }: Build, numRequests: number): Promise<void> {
  const { child, client } = await startServer(folder, flags);
  const pid = child.pid!;
  try {
    for (const request of Object.values(PROMPTS))
      for (let warmUp = 0; warmUp < 50; warmUp += 1) await askOnce(client, request);
    for (const [name, request] of Object.entries(PROMPTS)) {
      const startCpuMs = processorMs(pid);
      for (let index = 0; index < numRequests; index += 1) {
        const { first, plan } = await askOnce(client, request);
        (samples.firstMessageMs[name] ??= []).push(first);
        (samples.firstPlanMs[name] ??= []).push(plan);
      }
      (samples.cpuMs[name] ??= []).push((processorMs(pid) - startCpuMs) / numRequests);
    }
    await stepTime(client, pid);
    const { wall, cpu } = await stepTime(client, pid);
    samples.stepMs.push(wall);
    samples.stepCpuMs.push(cpu);
  } finally {
    client.close();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
}

function commitOf(folder: string): string {
  return execFileSync('git', ['-C', folder, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
}

function summaries(samples: Record<string, number[]>): Record<string, Summary> {
  return Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, summary(values)]));
}

async function run(flags: Flags): Promise<void> {
  const builds = flags.build.map((each): Build => {
    const [name, what] = each.split('=');
    if (name === undefined || what === undefined) throw new Error(`--build ${each}: expected NAME=FOLDER`);
    const [folder = '', ...serveFlags] = what.split(',');
    const samples: Samples = { firstMessageMs: {}, firstPlanMs: {}, cpuMs: {}, stepMs: [], stepCpuMs: [] };
    return { name, folder: path.resolve(folder), flags: serveFlags, commit: commitOf(folder), samples };
  });
  for (let round = 0; round < flags.rounds; round += 1) {
    for (const build of round % 2 === 0 ? builds : [...builds].reverse()) {
      await measure(build, flags.requests);
      process.stderr.write(`round ${round + 1}: ${build.name}\n`);
    }
  }
  const results = Object.fromEntries(
    builds.map(({ name, commit, samples }) => [
      name,
      {
        commit,
        firstMessageMs: summaries(samples.firstMessageMs),
        firstPlanMs: summaries(samples.firstPlanMs),
        cpuMsPerRequest: summaries(samples.cpuMs),
        [`stepMsWith${NUM_RUNNING}Running`]: summary(samples.stepMs),
        [`stepCpuMsWith${NUM_RUNNING}Running`]: summary(samples.stepCpuMs),
      },
    ]),
  );
  const report = `${JSON.stringify({ machine: describeMachine(), rounds: flags.rounds, results }, null, 2)}\n`;
  process.stdout.write(report);
  if (flags.output !== undefined) writeFileSync(flags.output, report);
}

const program = new Command('request-path')
  .option(
    '--build <name=folder...>',
    'built checkouts to compare, with flags of serve: NAME=FOLDER,--flag,value',
    ['this=.'],
  )
  .option('--rounds <n>', 'turns of each build', integerOption(1, 100), 4)
  .option('--requests <n>', 'of each prompt in a turn', integerOption(1, 100_000), 200)
  .option('--output <file>', 'where the result goes too');
program.parse();
await run(program.opts<Flags>());
