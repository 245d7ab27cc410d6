// How fast a running `skein serve` answers an ordinary gRPC client: a picture and a question, alone and 16 at once,
// greedy and with the recommended sampling, and a long text. Starts the service, asks it, writes one JSON file. Runs on
// any device; weights may be random.
//
//   node dist/bench/gpu/serving.js --model skywork-r1v3-38b --device cuda --output FILE [--cases
//   text:128:1,text:128:16]
//
// --cases asks for these instead (serving-cases.ts says how they are written). A picture is noise of --picture-side, a
// photograph a JPEG of 12 megapixels, a repeat one such file that comes with every request.
// What follows -- goes to `skein serve` as it is.
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';

import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { SamplingOptions } from '../../proto/ts/skein/inference/v1/SamplingOptions.js';
import { SkeinProcess } from '../../test/support/skein-process.js';
import { rounded } from '../statistics.js';
import { PhotographMaker, TWELVE_MEGAPIXELS } from '../pictures/photograph.js';
import { writeReport } from '../write-report.js';
import { floorOf, priceServed, servedCost } from './served-cost.js';
import { SERVED_MODEL_OPTIONS, reportHead, serveArgs } from './served-model.js';
import { parseCases, type Case } from './serving-cases.js';
import { decodedMedians, firstTokenMedians, type DecodedReport } from './serving-medians.js';
import {
  ask,
  connect,
  getCluster,
  getModel,
  makeIds,
  makePicture,
  reportBatch,
  reportFirstTokens,
  type Client,
  type FirstTokensReport,
  type RequestMaker,
} from './serving-client.js';

const START_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 20_000;
const WARM_UP_TOKENS = 16;
/** At most, beyond WARM_UP_TOKENS: more steps than the prompts of a large batch take, so that all decode together. */
const WARM_UP_EXTRA_TOKENS = 32;
/** Of a case that asks for first tokens only: its prompts fill steps whatever their number. */
const WARM_UP_FIRST_TOKENS = 4;

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

const worldSize = Number(values['tensor-parallel-size']);
const repetitions = Number(values.repetitions);
const newTokens = Number(values['new-tokens']);
/** What a case that says nothing else has. */
const defaults = { newTokens, repetitions };

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

async function makeRequests(
  maker: RequestMaker,
  test: Case,
  batch: number,
  maxTokens: number,
): Promise<GenerateRequest[]> {
  const requests: GenerateRequest[] = [];
  for (let index = 0; index < batch; index++) requests.push(await makeRequest(maker, test, maxTokens));
  return requests;
}

async function runFirstTokens(client: Client, maker: RequestMaker, test: Case): Promise<FirstTokensReport> {
  const requests = await makeRequests(maker, test, test.batch, 1);
  return reportFirstTokens(await Promise.all(requests.map((request) => ask(client, request))));
}

async function runDecoded(client: Client, maker: RequestMaker, test: Case): Promise<DecodedReport> {
  const requests = await makeRequests(maker, test, test.batch, test.newTokens);
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

const warmShapes = new Set<string>();

/** The same requests with short answers, which need not decode together; none where this shape was asked before. */
async function warmUp(client: Client, maker: RequestMaker, test: Case): Promise<void> {
  const shape = [test.prompt, test.promptTokens, test.batch, test.sampling].join(':');
  if (warmShapes.has(shape)) return;
  warmShapes.add(shape);
  const isFirstOnly = test.newTokens === 1;
  const batch = isFirstOnly ? Math.min(test.batch, WARM_UP_FIRST_TOKENS) : test.batch;
  const tokens = WARM_UP_TOKENS + Math.min(2 * test.batch, WARM_UP_EXTRA_TOKENS);
  const requests = await makeRequests(maker, test, batch, Math.min(test.newTokens, tokens));
  await Promise.all(requests.map((request) => ask(client, request)));
}

async function repeated<Run>(times: number, run: () => Promise<Run>): Promise<Run[]> {
  const runs: Run[] = [];
  for (let time = 0; time < times; time++) runs.push(await run());
  return runs;
}

/** A case with one new token has no figures of decoding. */
async function runCase(client: Client, maker: RequestMaker, test: Case): Promise<Record<string, unknown>> {
  await warmUp(client, maker, test);
  if (test.newTokens === 1) {
    const runs = await repeated(test.repetitions, () => runFirstTokens(client, maker, test));
    return { ...test, medians: firstTokenMedians(runs), runs };
  }
  const runs = await repeated(test.repetitions, () => runDecoded(client, maker, test));
  return { ...test, medians: decodedMedians(runs), runs };
}

function cases(): Case[] {
  if (values.cases !== undefined) return parseCases(values.cases, defaults);
  const batches = values.batches.split(',').map(Number);
  const samplings = values['greedy-only'] ? (['greedy'] as const) : (['greedy', 'recommended'] as const);
  const question = Number(values['question-tokens']);
  const pictures = samplings.flatMap((sampling) =>
    batches.map((batch) => ({
      ...defaults,
      ...{ prompt: 'picture' as const, promptTokens: question, batch, sampling },
    })),
  );
  const text = { prompt: 'text' as const, promptTokens: Number(values['text-tokens']), batch: 1 };
  return [...pictures, { ...defaults, ...text, sampling: 'greedy' }];
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
    const result = await runCase(client, maker, test);
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

/** What the model costs on paper, and what a token then takes at least. */
async function paper(): Promise<Record<string, unknown>> {
  const price = await priceServed(values.model, worldSize, serveFlags, bandwidth);
  return { floor: bandwidth === null ? null : floorOf(price), cost: servedCost(price, serveFlags) };
}

const facts = reportHead('serving', values, serveFlags);
const bandwidth = values['memory-bandwidth'] === undefined ? null : Number(values['memory-bandwidth']) * 1e12;
let report: Record<string, unknown>;
try {
  const [, address = ''] = await skein.outputMatches(/^serving .* on (\S+)$/m, START_TIMEOUT_MS);
  const readyMs = Math.round(performance.now() - startMs);
  report = {
    ...facts,
    repetitions,
    picture: { side: Number(values['picture-side']), format: values['picture-format'] },
    readyMs,
    ...(await paper()),
    ...(await measure(address)),
  };
} catch (error) {
  const refused = await refusal();
  if (refused === null) throw error;
  report = { ...facts, ...(await paper()), refused };
} finally {
  skein.child.kill('SIGTERM');
  const timer = setTimeout(() => skein.child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await skein.exited;
  clearTimeout(timer);
}
writeReport(report, values.output);
