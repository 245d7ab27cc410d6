// How fast a running `skein serve` answers an ordinary gRPC client: a picture and a question, alone and 16 at once,
// greedy and with the recommended sampling, and a long text. Starts the service, asks it, writes one JSON file. Runs on
// any device; weights may be random.
//
//   node dist/bench/gpu/serving.js --model skywork-r1v3-38b --device cuda --output FILE [--cases
//   text:128:1,text:128:16]
//
// --cases asks for these instead: prompt (picture, photograph, repeat or text), its text tokens, how many at once,
// and, if not greedily, :recommended. A picture is noise of --picture-side, a photograph a JPEG of 12 megapixels, a
// repeat one such file that comes with every request.
// What follows -- goes to `skein serve` as it is.
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';

import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { SamplingOptions } from '../../proto/ts/skein/inference/v1/SamplingOptions.js';
import { resolveModel } from '../../coordinator/checkpoint/known-models.js';
import { priceShardPlan } from '../../coordinator/sharding/cost-model.js';
import { makeShardPlan } from '../../coordinator/sharding/make-shard-plan.js';
import { SkeinProcess } from '../../test/support/skein-process.js';
import { median, rounded } from '../statistics.js';
import { PhotographMaker, TWELVE_MEGAPIXELS } from '../pictures/photograph.js';
import { writeReport } from '../write-report.js';
import { SERVED_MODEL_OPTIONS, reportHead, serveArgs } from './served-model.js';
import {
  ask,
  connect,
  getCluster,
  getModel,
  makeIds,
  makePicture,
  reportBatch,
  type BatchReport,
  type Client,
  type RequestMaker,
} from './serving-client.js';

const START_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 20_000;
const WARM_UP_TOKENS = 16;

/** What the model's authors recommend. */
const RECOMMENDED: SamplingOptions = { temperature: 0.6, topP: 0.95, repetitionPenalty: 1.05, seed: 1 };

const { values, positionals: serveFlags } = parseArgs({
  allowPositionals: true,
  options: {
    ...SERVED_MODEL_OPTIONS,
    batches: { type: 'string', default: '1,16' },
    repetitions: { type: 'string', default: '3' },
    'new-tokens': { type: 'string', default: '128' },
    'question-tokens': { type: 'string', default: '64' },
    'text-tokens': { type: 'string', default: '1024' },
    'picture-side': { type: 'string', default: '896' },
    'picture-format': { type: 'string', default: 'jpeg' },
    'greedy-only': { type: 'boolean', default: false },
    cases: { type: 'string' },
    'memory-bandwidth': { type: 'string' },
    output: { type: 'string' },
  },
});

interface Case {
  readonly prompt: 'picture' | 'photograph' | 'repeat' | 'text';
  readonly promptTokens: number;
  readonly batch: number;
  readonly sampling: 'greedy' | 'recommended';
}

const worldSize = Number(values['tensor-parallel-size']);
const repetitions = Number(values.repetitions);
const newTokens = Number(values['new-tokens']);

/** Every request has a salt of its own: no prompt comes twice, and no picture but that of repeats. */
let nextSalt = 1;

const REPEATED_SALT = 0;

let photographs: PhotographMaker | null = null;

function encodedPicture(prompt: Case['prompt'], salt: number, maker: RequestMaker): Promise<Buffer> {
  if (prompt === 'picture') return makePicture(salt, maker);
  photographs ??= new PhotographMaker(TWELVE_MEGAPIXELS);
  return photographs.jpeg(prompt === 'repeat' ? REPEATED_SALT : salt);
}

async function makeRequest(maker: RequestMaker, test: Case, maxTokens: number): Promise<GenerateRequest> {
  const salt = nextSalt++;
  const text = makeIds(test.promptTokens, salt, maker);
  const sampling = {
    ...(test.sampling === 'recommended' ? RECOMMENDED : { temperature: 0 }),
    maxTokens,
    ignoreEos: true,
  };
  if (test.prompt === 'text' || maker.pictureTokenId === null) return { promptTokenIds: text, sampling };
  return {
    promptTokenIds: [...text.slice(0, 4), maker.pictureTokenId, ...text.slice(4)],
    pictures: [{ data: await encodedPicture(test.prompt, salt, maker) }],
    sampling,
  };
}

interface CaseReport extends BatchReport {
  readonly steps: number;
  /** What a step takes on rank 0's device, from when all streams decode to the end. */
  readonly deviceStepMs: number;
}

async function makeRequests(maker: RequestMaker, test: Case, maxTokens: number): Promise<GenerateRequest[]> {
  const requests: GenerateRequest[] = [];
  for (let index = 0; index < test.batch; index++) requests.push(await makeRequest(maker, test, maxTokens));
  return requests;
}

async function runCase(client: Client, maker: RequestMaker, test: Case): Promise<CaseReport> {
  const requests = await makeRequests(maker, test, newTokens);
  const before = await getCluster(client);
  let numBegun = 0;
  const whenAllBegan: ReturnType<typeof getCluster>[] = [];
  const onFirst = (): void => {
    if (++numBegun === test.batch) whenAllBegan.push(getCluster(client));
  };
  const answers = await Promise.all(requests.map((request) => ask(client, request, onFirst)));
  const begun = await whenAllBegan[0]!;
  const after = await getCluster(client);
  const decodeSteps = Number(after.completedSteps) - Number(begun.completedSteps);
  return {
    ...reportBatch(answers),
    steps: Number(after.steps) - Number(before.steps),
    deviceStepMs: rounded((after.stepMs - begun.stepMs) / decodeSteps),
  };
}

/** The same requests with short answers, which need not decode together. */
async function warmUp(client: Client, maker: RequestMaker, test: Case): Promise<void> {
  const requests = await makeRequests(maker, test, Math.min(newTokens, WARM_UP_TOKENS + 2 * test.batch));
  await Promise.all(requests.map((request) => ask(client, request)));
}

function summarise(test: Case, runs: readonly CaseReport[]): Record<string, unknown> {
  const all = (read: (run: CaseReport) => readonly number[]): number => rounded(median(runs.flatMap(read)));
  return {
    ...test,
    newTokens,
    medians: {
      firstTokenMs: all(({ firstTokenMs }) => firstTokenMs),
      lastFirstTokenMs: all(({ firstTokenMs }) => [Math.max(...firstTokenMs)]),
      tokenMs: all(({ tokenMs }) => tokenMs),
      stepMs: all(({ stepMs }) => [stepMs.median]),
      deviceStepMs: all(({ deviceStepMs }) => [deviceStepMs]),
      decodeTokensPerSecond: all(({ decodeTokensPerSecond }) => [decodeTokensPerSecond]),
      totalTokensPerSecond: all(({ totalTokensPerSecond }) => [totalTokensPerSecond]),
      serverFirstTokenMs: all(({ server }) => server.firstTokenMs),
      serverTokenMs: all(({ server }) => server.tokenMs),
    },
    runs,
  };
}

function parseCases(list: string): Case[] {
  return list.split(',').map((words) => {
    const match = /^(picture|photograph|repeat|text):([1-9]\d*):([1-9]\d*)(?::(greedy|recommended))?$/.exec(
      words,
    );
    if (match === null) {
      throw new Error(
        `--cases: "${words}" is not picture, photograph, repeat or text, then :TOKENS:BATCH, perhaps :recommended`,
      );
    }
    const [, prompt, tokens, batch, sampling = 'greedy'] = match;
    return { prompt, promptTokens: Number(tokens), batch: Number(batch), sampling } as Case;
  });
}

function cases(): Case[] {
  if (values.cases !== undefined) return parseCases(values.cases);
  const batches = values.batches.split(',').map(Number);
  const samplings = values['greedy-only'] ? (['greedy'] as const) : (['greedy', 'recommended'] as const);
  const question = Number(values['question-tokens']);
  const pictures = samplings.flatMap((sampling) =>
    batches.map((batch) => ({ prompt: 'picture' as const, promptTokens: question, batch, sampling })),
  );
  const text = { prompt: 'text' as const, promptTokens: Number(values['text-tokens']), batch: 1 };
  return [...pictures, { ...text, sampling: 'greedy' }];
}

/** Batch 1 reads every weight of the decoder once; the measured bandwidth says how long that takes at least. */
async function floor(): Promise<Record<string, unknown> | null> {
  if (values['memory-bandwidth'] === undefined) return null;
  const choice = (flag: string): 'auto' | 'fp8' =>
    serveFlags[serveFlags.indexOf(flag) + 1] === 'fp8' ? 'fp8' : 'auto';
  const checkpoint = await resolveModel(values.model, {
    quantization: choice('--quantization'),
    visionQuantization: choice('--vision-quantization'),
  });
  const plan = makeShardPlan(checkpoint, { worldSize, visionParallel: 'auto' });
  const memoryBandwidth = Number(values['memory-bandwidth']) * 1e12;
  const price = priceShardPlan(checkpoint, plan, { memoryBandwidth, computeType: null });
  return {
    memoryBandwidth,
    decodeBytes: Math.max(...price.ranks.map((rank) => rank.decodeBytes)),
    decodeMs: rounded(price.roofline.decodeMs),
    kvBytesPerToken: Math.max(...price.ranks.map((rank) => rank.kvBytesPerToken)),
    allReduces: price.decodeCollectives
      .filter(({ kind }) => kind === 'all-reduce')
      .map(({ what, count, bytes, sentBytes = bytes }) => ({ what, count, bytes: sentBytes })),
  };
}

function deviceMemoryUsedMib(): number[] {
  if (values.device === 'cpu') return [];
  const output = execFileSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], {
    encoding: 'utf8',
  });
  return output.trim().split('\n').map(Number);
}

/** One that cannot be measured leaves the others what they are, and the command ends with 1. */
async function measureCase(
  client: Client,
  maker: RequestMaker,
  test: Case,
): Promise<Record<string, unknown>> {
  const name = `${values.model}: ${test.prompt}, batch ${test.batch}, ${test.sampling}`;
  try {
    await warmUp(client, maker, test);
    const runs = [];
    for (let run = 0; run < repetitions; run++) runs.push(await runCase(client, maker, test));
    const result = summarise(test, runs);
    process.stderr.write(`${name}: ${JSON.stringify(result['medians'])}\n`);
    return result;
  } catch (error) {
    const { message } = error as Error;
    process.stderr.write(`${name}: failed: ${message}\n`);
    process.exitCode = 1;
    return { ...test, failed: message };
  }
}

async function measure(address: string): Promise<Record<string, unknown>> {
  const client = connect(address);
  try {
    const model = await getModel(client);
    const maker: RequestMaker = {
      vocabSize: model.vocabSize,
      pictureTokenId: model.supportsPictures ? (model.pictureTokenId ?? null) : null,
      pictureSide: Number(values['picture-side']),
      pictureFormat: values['picture-format'] === 'png' ? 'png' : 'jpeg',
    };
    const results = [];
    for (const test of tests) {
      results.push(await measureCase(client, maker, test));
    }
    return {
      served: model,
      results,
      cluster: await getCluster(client),
      deviceMemoryUsedMib: deviceMemoryUsedMib(),
    };
  } finally {
    client.close();
  }
}

// Before the service is started: what cannot be understood costs nothing.
const tests = cases();
const startMs = performance.now();
const skein = SkeinProcess.real(['serve', ...serveArgs(values, serveFlags)]);
skein.child.stderr?.pipe(process.stderr);
/** The last words of a service that would not start because the model does not fit the devices: an answer too. */
async function refusal(): Promise<string | null> {
  if (skein.child.exitCode === null) return null;
  await skein.exited;
  return /^skein: (DEVICE_OUT_OF_MEMORY: .*)$/m.exec(skein.stderr)?.[1] ?? null;
}

const facts = reportHead('serving', values, serveFlags);
let report: Record<string, unknown>;
try {
  const [, address = ''] = await skein.outputMatches(/^serving .* on (\S+)$/m, START_TIMEOUT_MS);
  const readyMs = Math.round(performance.now() - startMs);
  report = {
    ...facts,
    repetitions,
    picture: { side: Number(values['picture-side']), format: values['picture-format'] },
    readyMs,
    floor: await floor(),
    ...(await measure(address)),
  };
} catch (error) {
  const refused = await refusal();
  if (refused === null) throw error;
  report = { ...facts, floor: await floor(), refused };
} finally {
  skein.child.kill('SIGTERM');
  const timer = setTimeout(() => skein.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await skein.exited;
  clearTimeout(timer);
}
writeReport(report, values.output);
