// What a shared prefix saves, through the whole stack on the bundled model: the first token of a prompt whose beginning
// was computed before, and the throughput of prompts that begin alike, with the cache and without, in turns of one run.
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { createLogger } from '../../common/logger.js';
import { toClusterConfig } from '../../coordinator/config.js';
import { generate } from '../../coordinator/engine/generate.js';
import type { GenerationEnd } from '../../coordinator/requests/generation.js';
import { Serving } from '../../coordinator/serving/serving.js';
import { installedWorkerEntry } from '../../coordinator/serving/worker-entry.js';
import { NANO_FOLDER } from '../evaluation/evaluate.js';
import { currentCommit, describeMachine } from '../machine.js';
import { median, rounded, summary } from '../statistics.js';

interface Flags {
  readonly rounds: number;
  readonly prefix: number;
  readonly requests: number;
  readonly output?: string;
}

const TAIL_TOKENS = 16;
const NEW_TOKENS = 8;
const WORLD_SIZE = 2;

async function start(prefixCaching: boolean): Promise<Serving> {
  return Serving.start({
    config: toClusterConfig({
      ...{ model: NANO_FOLDER, tensorParallelSize: WORLD_SIZE, device: 'cpu', dtype: 'auto' },
      ...{ visionParallel: 'auto', collective: 'auto', loadFormat: 'auto', stepTimeout: 300 },
      ...{ maxModelLength: 4096, maxNumSequences: 16, maxStepTokens: 512, prefixCaching },
    }),
    logger: createLogger({ level: 'warn', defaultLevel: 'warn', component: 'bench' }),
    workerEntry: installedWorkerEntry,
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
}

function drawTokens(count: number, vocabSize: number): number[] {
  return Array.from({ length: count }, () => randomInt(vocabSize));
}

let numAsked = 0;

async function ask(serving: Serving, tokenIds: readonly number[], maxTokens: number): Promise<GenerationEnd> {
  numAsked += 1;
  const { deltas } = generate(
    serving.engine,
    {
      requestId: `request-${numAsked}`,
      prompt: { kind: 'tokens', tokenIds: Uint32Array.from(tokenIds), pictures: [] },
      sampling: { temperature: 0, maxTokens, ignoreEos: true },
    },
    new AbortController().signal,
  );
  for await (const { end } of deltas) if (end !== null) return end;
  throw new Error('a stream without an end');
}

/** Milliseconds to the first token: of a prompt that nobody has asked, and of another with the same beginning. */
async function firstTokens(serving: Serving, numPrefix: number): Promise<{ cold: number; warm: number }> {
  const { vocabSize } = serving.plan.spec.text;
  const prefix = drawTokens(numPrefix, vocabSize);
  const cold = await ask(serving, [...prefix, ...drawTokens(TAIL_TOKENS, vocabSize)], 1);
  const warm = await ask(serving, [...prefix, ...drawTokens(TAIL_TOKENS, vocabSize)], 1);
  return { cold: cold.timings.ttftMs, warm: warm.timings.ttftMs };
}

/** Tokens a second, of prompts and answers, for prompts that begin alike and come at once. */
async function throughput(serving: Serving, numRequests: number, numPrefix: number): Promise<number> {
  const { vocabSize } = serving.plan.spec.text;
  const prefix = drawTokens(numPrefix, vocabSize);
  const prompts = Array.from({ length: numRequests }, () => [
    ...prefix,
    ...drawTokens(TAIL_TOKENS, vocabSize),
  ]);
  const startMs = performance.now();
  await Promise.all(prompts.map((prompt) => ask(serving, prompt, NEW_TOKENS)));
  const numTokens = numRequests * (numPrefix + TAIL_TOKENS + NEW_TOKENS);
  return (numTokens * 1000) / (performance.now() - startMs);
}

const { rounds, prefix, requests, output } = new Command()
  .option('--rounds <n>', 'turns of each', integerOption(1, 1000), 5)
  .option('--prefix <n>', 'tokens that prompts have in common', integerOption(16, 4000), 2000)
  .option('--requests <n>', 'prompts at once', integerOption(1, 1000), 64)
  .option('--output <file>', 'result file')
  .parse()
  .opts<Flags>();

const servings = { on: await start(true), off: await start(false) };
try {
  const first = {
    on: { cold: [] as number[], warm: [] as number[] },
    off: { cold: [] as number[], warm: [] as number[] },
  };
  const perSecond = { on: [] as number[], off: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    for (const key of ['on', 'off'] as const) {
      const { cold, warm } = await firstTokens(servings[key], prefix);
      first[key].cold.push(cold);
      first[key].warm.push(warm);
      perSecond[key].push(await throughput(servings[key], requests, prefix));
    }
  }
  const result = {
    commit: currentCommit(),
    machine: describeMachine(),
    model: 'r1v-nano',
    worldSize: WORLD_SIZE,
    ...{
      rounds,
      prefixTokens: prefix,
      tailTokens: TAIL_TOKENS,
      newTokens: NEW_TOKENS,
      requestsAtOnce: requests,
    },
    firstTokenMs: {
      cached: { cold: summary(first.on.cold), warm: summary(first.on.warm) },
      uncached: { cold: summary(first.off.cold), warm: summary(first.off.warm) },
    },
    warmOverCold: rounded(median(first.on.warm) / median(first.on.cold)),
    tokensPerSecond: { cached: summary(perSecond.on), uncached: summary(perSecond.off) },
    throughputRatio: rounded(median(perSecond.on) / median(perSecond.off)),
  };
  if (output !== undefined) writeFileSync(output, `${JSON.stringify(result, null, 1)}\n`);
  const { firstTokenMs, warmOverCold, throughputRatio } = result;
  process.stdout.write(
    `first token after ${firstTokenMs.cached.cold.median} ms, of a prompt with the same ${prefix} tokens before it ` +
      `${firstTokenMs.cached.warm.median} ms (${warmOverCold}); ${requests} such prompts at once: ` +
      `${throughputRatio} times the throughput without the cache\n`,
  );
} finally {
  await Promise.all([servings.on.stop(), servings.off.stop()]);
}
