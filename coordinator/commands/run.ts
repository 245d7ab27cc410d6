// `skein run`: one question about some pictures, answered by workers that it starts and stops. Reasoning and answer go
// to stdout as they come; --json prints one object instead.
import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import { integerOption, realOption, seedOption } from '../../common/command-line.js';
import { AppError } from '../../common/errors.js';
import { MAX_PICTURE_BYTES, MAX_UINT32 } from '../../common/limits.js';
import { createLogger } from '../../common/logger.js';
import { NEUTRAL_SAMPLING, type SamplingInput } from '../../common/sampling.js';
import { addClusterOptions } from '../cluster-options.js';
import { toClusterConfig } from '../config.js';
import type { RequestSpec, PartInput } from '../requests/request-spec.js';
import { emptyDelta, mergeDeltas } from '../requests/generation.js';
import { generate } from '../engine/generate.js';
import { checkPictureCount } from '../gateway/request-checks.js';
import { resolveSampling } from '../requests/sampling-options.js';
import { Serving } from '../serving/serving.js';
import { sniffPicture } from '../vision/sniff-picture.js';
import { CommandOutput, untilSignal } from './command-line.js';
import { createProgressDisplay } from './load-progress.js';
import { runReportJson, runSummary, type RunOutcome } from './run-report.js';

interface RunFlags extends SamplingInput {
  readonly question: string;
  readonly imagePaths?: readonly string[];
  readonly json?: true;
}

type ClusterFlags = Parameters<typeof toClusterConfig>[0];

const PICTURE_MARKER = '<image>\n';

/** `workerEntry`: arguments of process.execPath that start `skein worker`. */
export function registerRun(program: Command, workerEntry: readonly string[]): void {
  const command = program
    .command('run')
    .description('ask one question, about pictures or not, and stop everything again');
  addClusterOptions(command)
    .option('--image-paths <path...>', 'JPEG, PNG, WebP or GIF files, in order')
    .requiredOption('--question <text>', 'what to ask')
    .option('--max-tokens <n>', 'tokens to generate at most', integerOption(1, MAX_UINT32))
    .option('--min-tokens <n>', 'tokens before which the answer cannot end', integerOption(0, MAX_UINT32))
    .option(
      '--temperature <x>',
      "0: always the most likely token (default: the checkpoint's, else 0)",
      realOption,
    )
    .option('--top-k <n>', 'the n most likely tokens only; 0: off', integerOption(0, MAX_UINT32))
    .option('--top-p <x>', 'the most likely tokens that make up this probability', realOption)
    .option('--min-p <x>', 'tokens at least this likely, relative to the likeliest', realOption)
    .option('--repetition-penalty <x>', '1: off', realOption)
    .option('--presence-penalty <x>', '0: off', realOption)
    .option('--frequency-penalty <x>', '0: off', realOption)
    .option('--seed <n>', 'of the sampling (default: drawn)', seedOption)
    .option('--stop <text...>', 'strings that end the answer')
    .option('--ignore-eos', 'go on past the end of the answer')
    .option('--no-skip-special-tokens', 'spell special tokens (<ref>, <box>, ...) in the text')
    .option('--top-logprobs <n>', 'log-probabilities of the n most likely tokens', integerOption(0, 20))
    .option('--json', 'print one JSON object')
    .action(async (flags: RunFlags & ClusterFlags) => {
      const output = new CommandOutput();
      await untilSignal((signal) => run(flags, { workerEntry, output, signal }), output.lost);
      await output.flush();
    });
}

interface RunContext {
  readonly workerEntry: readonly string[];
  readonly output: CommandOutput;
  /** Ends the command, whether it loads or answers. */
  readonly signal: AbortSignal;
}

async function run(
  flags: RunFlags & ClusterFlags,
  { workerEntry, output, signal }: RunContext,
): Promise<void> {
  const config = toClusterConfig(flags);
  const logger = createLogger({ level: config.logLevel, defaultLevel: 'warn', component: 'coordinator' });
  // Before anything is loaded: a typing error should not cost minutes.
  resolveSampling(flags, { vocabSize: MAX_UINT32, eosTokenIds: [], defaults: NEUTRAL_SAMPLING });
  const pictures = await readPictures(flags.imagePaths ?? []);
  const input = makeInput(flags, pictures);
  const progress = createProgressDisplay(config.tensorParallelSize, flags.json === true);
  let serving: Serving;
  try {
    serving = await Serving.start({
      config: { ...config, logLevel: config.logLevel ?? 'warn' },
      logger,
      workerEntry,
      onProgress: (state) => progress.update(state),
      signal,
    });
  } finally {
    progress.stop();
  }
  try {
    checkPictureCount(pictures.length, serving.model.maxTilesPerPicture > 0);
    const outcome = await answer(serving, input, flags.json === true ? null : output, signal);
    if (flags.json === true) output.write(`${JSON.stringify(runReportJson(outcome))}\n`);
    else {
      const { collective, numKvBlocks } = serving.group;
      const cacheTokens = numKvBlocks * serving.cluster().blockSize;
      output.write(`\n${runSummary(outcome, serving.plan, collective, cacheTokens)}`);
    }
  } finally {
    await serving.stop();
  }
}

async function readPictures(paths: readonly string[]): Promise<Uint8Array[]> {
  checkPictureCount(paths.length, true);
  return Promise.all(paths.map(readPicture));
}

async function readPicture(path: string): Promise<Uint8Array> {
  let file;
  try {
    file = await open(path);
    const { size } = await file.stat();
    if (size > MAX_PICTURE_BYTES) {
      throw new AppError('INVALID_PICTURE', `${path} has ${size} bytes; the limit is ${MAX_PICTURE_BYTES}`);
    }
    const data = await file.readFile();
    // What the header tells is told before the model is loaded.
    sniffPicture(data, path);
    return data;
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('INVALID_PICTURE', `${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await file?.close();
  }
}

function makeInput(flags: RunFlags, pictures: readonly Uint8Array[]): RequestSpec {
  const parts: PartInput[] = pictures.map((data, index) => ({
    type: 'picture',
    picture: { data, label: flags.imagePaths![index]! },
  }));
  return {
    requestId: 'run',
    prompt: {
      kind: 'chat',
      messages: [
        { role: 'user', parts: [...parts, { type: 'text', text: questionText(flags, pictures.length) }] },
      ],
    },
    sampling: flags,
  };
}

/**
 * As upstream's script: a question that brings its own picture markers gets no others. Here the pictures themselves
 * stand for them.
 */
function questionText({ question }: RunFlags, numPictures: number): string {
  const markers = /^(?:<image>\n)*/.exec(question)![0];
  const numMarkers = markers.length / PICTURE_MARKER.length;
  if (numPictures === 0 || numMarkers === 0) return question;
  if (numMarkers !== numPictures) {
    throw new AppError(
      'INVALID_REQUEST',
      `--question begins with ${numMarkers} <image> markers, --image-paths names ${numPictures} pictures`,
      { details: { param: 'question' } },
    );
  }
  return question.slice(markers.length);
}

/** Streams to `output`, reasoning and answer set apart by headings. */
async function answer(
  serving: Serving,
  input: RequestSpec,
  output: CommandOutput | null,
  signal: AbortSignal,
): Promise<RunOutcome> {
  const generation = generate(serving.engine, input, signal);
  const total = emptyDelta();
  const printer = new SectionPrinter(output);
  for await (const delta of generation.deltas) {
    mergeDeltas(total, delta);
    printer.print('reasoning', delta.reasoning);
    printer.print('answer', delta.answer);
  }
  if (total.end === null) throw new AppError('INTERNAL', 'the answer ended without an end');
  printer.end();
  const { loadMs, group, model } = serving;
  return {
    total,
    end: total.end,
    promptTokenIds: generation.promptTokenIds ?? new Uint32Array(),
    loadMs,
    ranks: group.ranks,
    deterministic: model.deterministic,
  };
}

class SectionPrinter {
  readonly #output: CommandOutput | null;
  #section: string | null = null;

  constructor(output: CommandOutput | null) {
    this.#output = output;
  }

  print(section: 'reasoning' | 'answer', text: string): void {
    if (this.#output === null || text === '') return;
    if (section !== this.#section) {
      // White space between the parts is not worth a heading.
      if (text.trim() === '') return;
      this.#output.write(`${this.#section === null ? '' : '\n\n'}--- ${section} ---\n`);
      this.#section = section;
      this.#output.write(text.trimStart());
      return;
    }
    this.#output.write(text);
  }

  end(): void {
    this.#output?.write('\n');
  }
}
