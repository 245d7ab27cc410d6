// A whole run: the workload of each rate is drawn and prepared, the target is warmed up and asked, and what was seen is
// measured. The results of rates that are done are told one by one, so that a run that is cut off leaves something.
import { performance } from 'node:perf_hooks';
import { systemClock } from '../common/clock.js';
import { AppError } from '../common/errors.js';
import { MAX_BENCH_TOKENS } from '../common/limits.js';
import { errorOf } from './failure.js';
import type { GoodputLimits } from './goodput.js';
import { LagMeter } from './lag-meter.js';
import { LoadGenerator, type LoadCounts, type RequestRecord } from './load-generator.js';
import { measure, type Measures } from './measures.js';
import { PictureMaker } from './pictures.js';
import { PromptMaker, type PreparedConversation, type PromptForm, type Tokenize } from './prompts.js';
import { drawArrivals } from './arrivals.js';
import { Random } from './random.js';
import type { Served, Target } from './target.js';
import type { TraceLine } from './trace.js';
import {
  drawConversations,
  traceConversations,
  type Conversation,
  type TraceOptions,
  type WorkloadOptions,
} from './workload.js';

/** Prompts that are made at once: each is some questions to the tokenizer. */
const MAKERS = 8;

export interface RunOptions {
  readonly workload: WorkloadOptions;
  /** Null: the workload is drawn. */
  readonly trace: { readonly lines: readonly TraceLine[]; readonly options: TraceOptions } | null;
  readonly form: PromptForm;
  /** Requests a second, one run each; null: at the times of the trace. */
  readonly rates: readonly (number | null)[];
  readonly burstiness: number;
  /** Conversations of each rate. */
  readonly numPrompts: number;
  readonly durationMs: number | null;
  readonly numWarmUps: number;
  readonly maxConcurrency: number | null;
  readonly requestTimeoutMs: number;
  readonly goodput: GoodputLimits | null;
  readonly percents: readonly number[];
  readonly maxLagMs: number;
  readonly tokenize: Tokenize | null;
}

export interface RatePoint {
  readonly rate: number | null;
  readonly measures: Measures;
  readonly records: readonly RequestRecord[];
}

export interface RunEvents {
  readonly onServed: (served: Served) => void;
  /** Something that the user should know and that ends nothing. */
  readonly onNote: (note: string) => void;
  readonly onStart: (rate: number | null, counts: () => LoadCounts) => void;
  readonly onPoint: (point: RatePoint) => void;
}

export async function runBenchmark(
  options: RunOptions,
  target: Target,
  events: RunEvents,
  signal: AbortSignal,
): Promise<RatePoint[]> {
  const served = await target.describe();
  events.onServed(served);
  const tokenize = options.tokenize ?? ((text, asChat) => target.tokenize(text, asChat));
  const points: RatePoint[] = [];
  for (const [index, rate] of options.rates.entries()) {
    const { seed, pictureWidth: width, pictureHeight: height } = options.workload;
    const pictures = new PictureMaker({ seed, width, height });
    const maker = await PromptMaker.create({ seed, form: options.form, served, tokenize, pictures });
    if (!maker.isExact && index === 0)
      events.onNote(
        'nobody counts tokens here (no /tokenize, no --tokenizer): prompts have about a word a token',
      );
    const conversations = conversationsOf(options, rate, index);
    checkSize(conversations);
    const prepared = await prepareAll(maker, conversations, signal);
    if (index === 0) await warmUp(options, maker, target, signal);
    points.push(await runRate(options, rate, { prepared, target, index }, events, signal));
    signal.throwIfAborted();
  }
  return points;
}

interface Load {
  readonly prepared: readonly PreparedConversation[];
  readonly target: Target;
  readonly index: number;
}

async function runRate(
  options: RunOptions,
  rate: number | null,
  { prepared, target, index }: Load,
  events: RunEvents,
  signal: AbortSignal,
): Promise<RatePoint> {
  const { requestTimeoutMs, maxConcurrency } = options;
  const generator = new LoadGenerator({
    ...{ target, conversations: prepared, maxConcurrency, requestTimeoutMs, clock: systemClock, signal },
    thinkTimeMs: options.workload.thinkTimeMs,
    idPrefix: `bench-${options.workload.seed}-${index}-${Math.round(performance.timeOrigin)}`,
  });
  events.onStart(rate, () => generator.counts);
  const meter = new LagMeter();
  const records = await generator.run();
  const measures = measure(records, {
    ...{ percents: options.percents, goodput: options.goodput, maxLagMs: options.maxLagMs },
    planned: generator.counts.total,
    loop: meter.stop(),
    isStopped: signal.aborted,
  });
  const point = { rate, measures, records };
  events.onPoint(point);
  return point;
}

function conversationsOf(options: RunOptions, rate: number | null, index: number): Conversation[] {
  const { workload, trace, burstiness, numPrompts: count, durationMs } = options;
  const arrivals = rate === null ? null : { rate, burstiness, count, durationMs };
  if (trace === null) return drawConversations(workload, arrivals!, `rate-${index}`);
  const lines = trace.lines.slice(0, count);
  const times =
    arrivals === null ? null : drawArrivals(new Random(workload.seed, `rate-${index}`, 'arrivals'), arrivals);
  const all = traceConversations(lines.slice(0, times?.length), trace.options, times);
  return durationMs === null ? all : all.filter(({ atMs }) => atMs < durationMs);
}

/** What is drawn, sent and noted is held in memory. */
function checkSize(conversations: readonly Conversation[]): void {
  let tokens = 0;
  for (const { turns } of conversations)
    for (const { segments, outputTokens } of turns)
      tokens += outputTokens + segments.reduce((sum, each) => sum + ('text' in each ? 0 : each.tokens), 0);
  if (tokens <= MAX_BENCH_TOKENS) return;
  throw new AppError(
    'INVALID_REQUEST',
    `--num-prompts: prompts and answers of one rate come to ${tokens} tokens; at most ${MAX_BENCH_TOKENS} are held`,
    { details: { param: 'num-prompts', limit: MAX_BENCH_TOKENS } },
  );
}

async function prepareAll(
  maker: PromptMaker,
  conversations: readonly Conversation[],
  signal: AbortSignal,
): Promise<PreparedConversation[]> {
  const prepared = new Array<PreparedConversation>(conversations.length);
  let next = 0;
  const make = async (): Promise<void> => {
    while (next < conversations.length) {
      signal.throwIfAborted();
      const place = next++;
      prepared[place] = await maker.prepare(conversations[place]!);
    }
  };
  await Promise.all(Array.from({ length: MAKERS }, make));
  return prepared;
}

/** Requests that nothing else has in common with, all at once; the first that fails ends the run. */
async function warmUp(
  options: RunOptions,
  maker: PromptMaker,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  const { numWarmUps: count, workload, requestTimeoutMs, maxConcurrency } = options;
  if (count === 0) return;
  const alone = { ...workload, turns: 1, picturePool: 0 };
  const arrivals = { rate: Infinity, burstiness: 1, count, durationMs: null };
  const drawn = drawConversations(alone, arrivals, 'warm-up');
  const generator = new LoadGenerator({
    conversations: await prepareAll(maker, drawn, signal),
    ...{ target, maxConcurrency, requestTimeoutMs, thinkTimeMs: 0, clock: systemClock, signal },
    idPrefix: `warm-up-${workload.seed}-${Math.round(performance.timeOrigin)}`,
  });
  const records = await generator.run();
  signal.throwIfAborted();
  const failed = records.find(({ failure }) => failure !== null)?.failure;
  if (failed) throw errorOf('the warm-up failed', failed);
}
