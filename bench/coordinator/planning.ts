// What a step costs the scheduler: its plan, the plan's bytes, and taking in its tokens, with so many sequences running
// and so many waiting behind them. No ranks: their answers are made here. Builds given with --build take turns within
// one run, each in a process of its own, so that before and after share the machine's moods.
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import type { encodeStepPlan as encodeStepPlanOfThis } from '../../coordinator/executor/step-messages.js';
import type { Scheduler } from '../../coordinator/scheduler/scheduler.js';
import type { SchedulerConfig, StepPlan, StepTokens } from '../../coordinator/scheduler/step-plan.js';
import { GREEDY } from '../../test/support/scheduler-driver.js';
import { describeMachine } from '../machine.js';
import { quantile, rounded } from '../statistics.js';

interface Case {
  readonly running: number;
  readonly waiting: number;
  /** Tokens of each answer; whoever ends makes room for one that waits, and another one comes. */
  readonly answerTokens: number;
}

/** Microseconds. */
interface Samples {
  readonly schedule: number[];
  readonly encode: number[];
  readonly apply: number[];
}

type Modules = {
  readonly Scheduler: new (config: SchedulerConfig) => Scheduler;
  /** Earlier builds take the plan and the epoch alone. */
  readonly encodeStepPlan: typeof encodeStepPlanOfThis;
};

/** No plan here has masks, which are cut to a rank's rows. */
const NO_ROWS = { start: 0, count: 0 };
const PROMPT_TOKENS = 256;
/** More than there are steps. */
const ENDLESS = 10_000;
const WARM_UP_STEPS = 2_000;
const CASES: Readonly<Record<string, Case>> = {
  '64 running': { running: 64, waiting: 0, answerTokens: ENDLESS },
  '256 running': { running: 256, waiting: 0, answerTokens: ENDLESS },
  '256 running, 10,000 waiting': { running: 256, waiting: 10_000, answerTokens: ENDLESS },
  '256 running, 10,000 waiting, two come and go in each step': {
    ...{ running: 256, waiting: 10_000, answerTokens: 128 },
  },
};

function configOf({ running, waiting, answerTokens }: Case): SchedulerConfig {
  const blockSize = 16;
  const length = PROMPT_TOKENS + answerTokens;
  return {
    numBlocks: (running + 1) * Math.ceil(length / blockSize),
    blockSize,
    maxNumSequences: running,
    maxStepTokens: 2048,
    maxModelLength: 2 * ENDLESS,
    maxPlansInFlight: 2,
    maxWaiting: running + waiting + 1,
    maxWaitingTokens: 2 ** 31,
    ageingIntervalMs: 30_000,
    numTileSlots: 128,
    maxTilesPerStep: 8,
    tokensPerTile: 256,
    graphBuckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    prefixCaching: true,
    prefixSeed: 1,
  };
}

/** Every prompt is another one, as an answer's first tokens are. */
class Load {
  readonly scheduler: Scheduler;
  readonly #case: Case;
  #numSubmitted = 0;

  constructor(scheduler: Scheduler, load: Case) {
    this.scheduler = scheduler;
    this.#case = load;
  }

  /** The first ones end one after the other, so that those who come after them do. */
  submit(): void {
    const { running, answerTokens } = this.#case;
    const number = (this.#numSubmitted += 1);
    const isFirst = number <= running && answerTokens < ENDLESS;
    const maxTokens = isFirst ? 1 + Math.floor((number * answerTokens) / running) : answerTokens;
    const tokenIds = new Uint32Array(PROMPT_TOKENS);
    for (let position = 0; position < PROMPT_TOKENS; position += 1)
      tokenIds[position] = (number * 7919 + position) % 50_000;
    this.scheduler.submit({
      ...{ sequenceId: `sequence-${number}`, tokenIds, numPromptTokens: PROMPT_TOKENS },
      ...{ maxTokens, sampling: GREEDY, pictures: [] },
    });
  }
}

/** The ranks' answer: a token for each slot whose sequence is computed to its end. */
class Ranks {
  readonly #remaining = new Map<number, number>();

  answer(plan: StepPlan): StepTokens {
    for (const { slot, tokenIds, numComputedTokens } of plan.newSequences)
      this.#remaining.set(slot, tokenIds.length - numComputedTokens);
    const slots: number[] = [];
    for (const [index, slot] of plan.scheduledSlots.entries()) {
      const left = this.#remaining.get(slot)! - plan.scheduledTokens[index]!;
      // The token that it samples is the next to compute.
      this.#remaining.set(slot, left === 0 ? 1 : left);
      if (left === 0) slots.push(slot);
    }
    return {
      step: plan.step,
      slots: Uint32Array.from(slots),
      tokenOffsets: Uint32Array.from({ length: slots.length + 1 }, (_, index) => index),
      tokenIds: Uint32Array.from(slots, (slot) => (plan.step * 31 + slot * 17) % 50_000),
    };
  }
}

function measure({ Scheduler: SchedulerOf, encodeStepPlan }: Modules, load: Case, numSteps: number): Samples {
  const scheduler = new SchedulerOf(configOf(load));
  const clients = new Load(scheduler, load);
  const ranks = new Ranks();
  const plans: StepPlan[] = [];
  const samples: Samples = { schedule: [], encode: [], apply: [] };
  let runningSum = 0;
  for (let number = 0; number < load.running + load.waiting; number += 1) clients.submit();
  for (let step = -WARM_UP_STEPS; step < numSteps; step += 1) {
    const times: number[] = [performance.now()];
    const plan = scheduler.schedule();
    times.push(performance.now());
    if (plan === null) throw new Error('nothing runs');
    encodeStepPlan(plan, 1, NO_ROWS);
    times.push(performance.now());
    plans.push(plan);
    if (plans.length < 2) continue;
    const result = ranks.answer(plans.shift()!);
    const startMs = performance.now();
    const outputs = scheduler.applyStepResult(result);
    const applyMs = performance.now() - startMs;
    for (const { finishReason } of outputs) if (finishReason !== null) clients.submit();
    if (step < 0) continue;
    runningSum += scheduler.stats.numRunning;
    samples.schedule.push(1000 * (times[1]! - times[0]!));
    samples.encode.push(1000 * (times[2]! - times[1]!));
    samples.apply.push(1000 * applyMs);
  }
  // In a single step several may have ended whose room nobody has taken yet.
  const meanRunning = runningSum / numSteps;
  const { numWaiting } = scheduler.stats;
  if (meanRunning < load.running - 4 || numWaiting < load.waiting - 8)
    throw new Error(`${meanRunning} ran and ${numWaiting} wait at the end: another case was measured`);
  return samples;
}

async function measureBuild(folder: string, name: string, numSteps: number): Promise<Samples> {
  const load = async (file: string): Promise<unknown> =>
    import(pathToFileURL(path.join(folder, 'dist', 'coordinator', file)).href);
  const { Scheduler: SchedulerOf } = (await load('scheduler/scheduler.js')) as Modules;
  const { encodeStepPlan } = (await load('executor/step-messages.js')) as Modules;
  return measure({ Scheduler: SchedulerOf, encodeStepPlan }, CASES[name]!, numSteps);
}

interface Flags {
  readonly build: readonly string[];
  readonly rounds: number;
  readonly steps: number;
  readonly output?: string;
  readonly measure?: string;
  readonly of?: string;
}

function measureApart(folder: string, name: string, numSteps: number): Samples {
  const self = fileURLToPath(import.meta.url);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [self, '--measure', name, '--of', folder, '--steps', String(numSteps)],
    { encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
  if (status !== 0) throw new Error(`${folder}: ${stderr}`);
  return JSON.parse(stdout) as Samples;
}

interface Spread {
  readonly samples: number;
  readonly median: number;
  readonly p90: number;
  readonly p99: number;
}

function summaries(all: readonly Samples[]): Record<string, Spread> {
  const of = (kind: (samples: Samples) => readonly number[]): Spread => {
    const values = all.flatMap((samples) => [...kind(samples)]);
    const at = (share: number): number => rounded(quantile(values, share));
    return { samples: values.length, median: at(0.5), p90: at(0.9), p99: at(0.99) };
  };
  return {
    scheduleUs: of(({ schedule }) => schedule),
    encodeUs: of(({ encode }) => encode),
    applyUs: of(({ apply }) => apply),
    planUs: of(({ schedule, encode }) => schedule.map((value, index) => value + encode[index]!)),
  };
}

function commitOf(folder: string): string {
  return execFileSync('git', ['-C', folder, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
}

function run(flags: Flags): void {
  const builds = flags.build.map((each) => {
    const [name, folder] = each.split('=');
    if (name === undefined || folder === undefined) throw new Error(`--build ${each}: expected NAME=FOLDER`);
    const all = Object.fromEntries(Object.keys(CASES).map((key) => [key, [] as Samples[]]));
    return { name, folder: path.resolve(folder), commit: commitOf(folder), all };
  });
  for (let round = 0; round < flags.rounds; round += 1) {
    for (const { name, folder, all } of round % 2 === 0 ? builds : [...builds].reverse()) {
      for (const key of Object.keys(CASES)) all[key]!.push(measureApart(folder, key, flags.steps));
      process.stderr.write(`round ${round + 1}: ${name}\n`);
    }
  }
  const results = Object.fromEntries(
    builds.map(({ name, commit, all }) => [
      name,
      {
        commit,
        ...Object.fromEntries(Object.entries(all).map(([key, samples]) => [key, summaries(samples)])),
      },
    ]),
  );
  const { rounds, steps } = flags;
  const settings = { rounds, steps, promptTokens: PROMPT_TOKENS, plansInFlight: 2 };
  const report = `${JSON.stringify({ machine: describeMachine(), ...settings, results }, null, 2)}\n`;
  process.stdout.write(report);
  if (flags.output !== undefined) writeFileSync(flags.output, report);
}

const program = new Command('planning')
  .option('--build <name=folder...>', 'built checkouts to compare', ['this=.'])
  .option('--rounds <n>', 'turns of each build', integerOption(1, 100), 3)
  .option('--steps <n>', 'measured in a turn, of each case', integerOption(1, 7_500), 5_000)
  .option('--output <file>', 'where the result goes too')
  .option('--measure <case>', 'one case, in this process; prints the samples')
  .option('--of <folder>', 'whose scheduler that is', '.');
program.parse();
const flags = program.opts<Flags>();
if (flags.measure === undefined) run(flags);
else process.stdout.write(JSON.stringify(await measureBuild(flags.of!, flags.measure, flags.steps)));
