// `skein bench serve`: open-loop load on a running server, and what came of it as a table, JSON and a page. An entry of
// its own: nothing of it is loaded for other commands. Exit code 0 when the run is valid and something was answered.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { errorOf } from '../../bench-serve/failure.js';
import type { LoadCounts } from '../../bench-serve/load-generator.js';
import { renderHtml } from '../../bench-serve/report/html.js';
import { rateText, toResult, type Result, type ResultHead } from '../../bench-serve/report/result.js';
import { renderTable } from '../../bench-serve/report/table.js';
import { runBenchmark, type RatePoint } from '../../bench-serve/run.js';
import { assertDefined } from '../../common/assert.js';
import { inOurSpelling } from '../../common/command-line.js';
import { AppError } from '../../common/errors.js';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { addBenchServeOptions, type BenchFlags } from './bench-options.js';
import { planBenchmark, resultHead } from './bench-run.js';
import { CommandOutput, reportError, untilSignal } from './command-line.js';

const PROGRESS_INTERVAL_MS = 10_000;

export async function main(args: readonly string[]): Promise<void> {
  process.stdout.on('error', () => undefined);
  // Below `skein`, as its help says how it is called.
  const program = new Command('skein')
    .command('bench')
    .description('measures a running server')
    .exitOverride()
    .configureOutput({ outputError: () => undefined });
  const serve = addBenchServeOptions(
    program
      .command('serve')
      .description('open-loop load over gRPC or HTTP: latencies, throughput, goodput (docs/benchmarking.md)'),
  ).action(async (flags: BenchFlags) => {
    const output = new CommandOutput();
    await untilSignal((signal) => benchServe(flags, output, signal), output.lost);
    await output.flush();
  });
  const [name = '', ...rest] = args;
  const spelled = name === 'serve' ? [name, ...inOurSpelling(rest, serve)] : [...args];
  let exitCode: number;
  try {
    await program.parseAsync(spelled, { from: 'user' });
    exitCode = Number(process.exitCode ?? EXIT_CODES.done.code);
  } catch (error) {
    exitCode = reportError(error);
  }
  process.exitCode = exitCode;
}

async function benchServe(flags: BenchFlags, output: CommandOutput, signal: AbortSignal): Promise<void> {
  const plan = await planBenchmark(flags, process.env);
  const files = [flags.output, flags.report].filter((file) => file !== undefined);
  // Before the run: a folder that cannot be made would cost all of it.
  for (const file of files) mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const notes: string[] = [];
  const points: RatePoint[] = [];
  let head: ResultHead | null = null;
  const result = (): Result =>
    toResult(assertDefined(head, 'what is served'), notes, points, flags.saveDetailed ?? false);
  const progress = new Progress();
  try {
    await runBenchmark(
      plan.run,
      plan.target,
      {
        onServed: (served) => (head = resultHead(plan, flags, served)),
        onNote: (note) => {
          notes.push(note);
          say(note);
        },
        onStart: (rate, counts) => progress.start(rate, counts),
        onPoint: (point) => {
          progress.stop();
          points.push(point);
          // After every rate: what a run that is cut off had measured is kept.
          writeResults(flags, result(), points);
        },
      },
      signal,
    );
  } finally {
    progress.stop();
    plan.target.close();
  }
  output.write(renderTable(result()));
  judge(points);
}

function writeResults({ output, report }: BenchFlags, result: Result, points: readonly RatePoint[]): void {
  if (output !== undefined) writeFileSync(output, `${JSON.stringify(result, null, 1)}\n`);
  if (report !== undefined) writeFileSync(report, renderHtml(result, points));
}

/** Throws where the numbers are none of the server's. */
function judge(points: readonly RatePoint[]): void {
  const empty = points.filter(({ measures }) => measures.requests.completed === 0);
  if (empty.length === points.length) {
    const [failed] = points.flatMap(({ records }) => records.flatMap(({ failure }) => failure ?? []));
    if (failed === undefined) throw new AppError('NOT_READY', 'no request was sent');
    throw errorOf('no request was answered; the first that failed', failed);
  }
  const late = points.filter(({ measures }) => measures.invalid.length > 0);
  if (late.length === 0) return;
  const rates = late.map(({ rate }) => rateText(rate === Infinity ? 'inf' : rate)).join(', ');
  process.stderr.write(`skein: not valid (${rates}): the client could not keep up; see above\n`);
  process.exitCode = EXIT_CODES.failed.code;
}

/** Says how a rate goes, on stderr. */
class Progress {
  #timer: NodeJS.Timeout | null = null;

  start(rate: number | null, counts: () => LoadCounts): void {
    const name = rateText(rate === Infinity ? 'inf' : rate);
    say(`${name}: ${counts().total} requests`);
    this.#timer = setInterval(() => {
      const { sent, running, ended, failed } = counts();
      say(`${name}: sent ${sent}, running ${running}, ended ${ended}, failed ${failed}`);
    }, PROGRESS_INTERVAL_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}

function say(line: string): void {
  process.stderr.write(`skein: ${line}\n`);
}
