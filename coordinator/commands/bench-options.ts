// The flags of `skein bench serve`: their names, bounds and relations. Names are vLLM's where it has the same thing.
import { InvalidArgumentError, Option, type Command } from 'commander';
import { describedParser, integerOption, listOption, numberOption } from '../../common/command-line.js';
import { MAX_BENCH_REQUESTS, MAX_PRIORITY, MAX_TEMPERATURE } from '../../common/limits.js';

const BACKENDS = ['grpc', 'openai-chat', 'openai'] as const;
export type Backend = (typeof BACKENDS)[number];

export interface BenchFlags {
  readonly backend?: Backend;
  readonly address: string;
  readonly baseUrl?: string;
  readonly endpoint?: string;
  readonly model: string;
  readonly connections: number;
  readonly header: Readonly<Record<string, string>>;
  readonly extraBody: Readonly<Record<string, unknown>>;
  readonly requestTimeout: number;
  readonly prompts?: 'ids' | 'text';
  readonly tokenizer?: string;
  readonly inputLen: number;
  readonly outputLen: number;
  readonly rangeRatio: number;
  readonly prefixLen: number;
  readonly numPrefixes: number;
  readonly pictures: number;
  readonly pictureSize: readonly [number, number];
  readonly picturePool: number;
  readonly turns: number;
  readonly thinkTime: number;
  readonly trace?: string;
  readonly traceSpeed: number;
  readonly traceBlockSize: number;
  readonly ignoreEos?: boolean;
  readonly priority?: number;
  readonly temperature?: number;
  readonly rate?: readonly number[];
  readonly burstiness: number;
  readonly numPrompts?: number;
  readonly duration?: number;
  readonly warmUps: number;
  readonly maxConcurrency?: number;
  readonly seed: number;
  readonly goodput?: readonly string[];
  readonly percentiles: readonly number[];
  readonly maxLag: number;
  readonly label?: string;
  readonly output?: string;
  readonly report?: string;
  readonly saveDetailed?: boolean;
}

const MAX_RATE = 100_000;

const ratesOption = describedParser('rates, separated by commas', (value) => {
  const rates = listOption(value).map((item) => (item === 'inf' ? Infinity : Number(item)));
  if (rates.length === 0 || !rates.every((rate) => rate === Infinity || (rate > 0 && rate <= MAX_RATE)))
    throw new InvalidArgumentError(`expected numbers above 0 and up to ${MAX_RATE}, or inf: 1,2,4.`);
  return rates;
});

const priorityOption = describedParser(`a whole number of ${-MAX_PRIORITY} to ${MAX_PRIORITY}`, (value) => {
  const priority = Number(value);
  if (!/^-?\d{1,3}$/.test(value) || Math.abs(priority) > MAX_PRIORITY)
    throw new InvalidArgumentError(`expected a whole number of ${-MAX_PRIORITY} to ${MAX_PRIORITY}.`);
  return priority;
});

const percentilesOption = describedParser('percentiles, separated by commas', (value) => {
  const percents = listOption(value).map(Number);
  if (percents.length === 0 || !percents.every((percent) => percent >= 0 && percent <= 100))
    throw new InvalidArgumentError('expected numbers of 0 to 100: 50,95,99.');
  return percents;
});

const sizeOption = describedParser('WIDTHxHEIGHT', (value): readonly [number, number] => {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(value) ?? [];
  const sides = [Number(width), Number(height)] as const;
  if (!sides.every((side) => side >= 1 && side <= 16_384))
    throw new InvalidArgumentError('expected WIDTHxHEIGHT in pixels, each of 1 to 16384.');
  return sides;
});

const bodyOption = describedParser('a JSON object', (value): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(value);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw new InvalidArgumentError('expected a JSON object: \'{"top_p": 0.9}\'.');
});

/** 'Name: value' as curl has it, or NAME=VALUE as vLLM has it; may be given several times. */
function headerOption(
  value: string,
  before: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const match = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*[:=]\s*([\x20-\x7e]*)$/.exec(value);
  if (match === null) throw new InvalidArgumentError("expected 'Name: value'.");
  return { ...before, [match[1]!.toLowerCase()]: match[2]! };
}

export function addBenchServeOptions(command: Command): Command {
  addTargetOptions(command);
  addWorkloadOptions(command);
  addLoadOptions(command);
  return command
    .option(
      '--goodput <limits...>',
      'a request is good that keeps all: ttft:MS tpot:MS e2e:MS (any of them; e2el is e2e)',
    )
    .addOption(
      new Option('--percentiles <list>', 'of all times')
        .argParser(percentilesOption)
        .default([50, 95, 99], '50,95,99'),
    )
    .option(
      '--max-lag <ms>',
      'the run is not valid when the client is later than this at the 99th percentile',
      numberOption(0.1, 60_000),
      10,
    )
    .option('--label <text>', 'said in the results: what they are of')
    .option('--output <file>', 'results as JSON')
    .option('--save-detailed', 'every request with all its times in the JSON, too')
    .option('--report <file>', 'results as one HTML page');
}

function addTargetOptions(command: Command): void {
  command
    .option(
      '--backend <name>',
      'grpc (Skein), openai-chat or openai (any server of that API); default: openai-chat with --base-url, else grpc',
      describedParser(BACKENDS.join(', '), (value) => {
        if ((BACKENDS as readonly string[]).includes(value)) return value as Backend;
        throw new InvalidArgumentError(`expected ${BACKENDS.join(', ')}.`);
      }),
    )
    .option('--address <address>', 'of a gRPC server: HOST:PORT or unix:PATH', '127.0.0.1:50051')
    .option('--base-url <url>', 'of an HTTP server: http://127.0.0.1:8000')
    .option('--endpoint <path>', 'in place of /v1/chat/completions or /v1/completions')
    .addOption(new Option('--model <name>', 'what is asked').default('', 'what is served'))
    .option('--connections <n>', 'of gRPC; HTTP has one for each request at once', integerOption(1, 256), 4)
    .addOption(
      new Option(
        '--header <header>',
        "'Name: value', of every request; OPENAI_API_KEY in the environment is sent as a bearer token",
      )
        .argParser(headerOption)
        .default({}, 'none'),
    )
    .addOption(
      new Option('--extra-body <json>', 'fields of every HTTP body, over our own')
        .argParser(bodyOption)
        .default({}, 'none'),
    )
    .option('--request-timeout <seconds>', 'for a whole answer', numberOption(0.001, 86_400), 600);
}

function addWorkloadOptions(command: Command): void {
  command
    .option(
      '--prompts <form>',
      'ids (exact, no template; default for grpc and openai) or text (default for openai-chat)',
      describedParser('ids, text', (value) => {
        if (value === 'ids' || value === 'text') return value;
        throw new InvalidArgumentError('expected ids or text.');
      }),
    )
    .option(
      '--tokenizer <folder>',
      'counts tokens where the server has no /tokenize: a folder in Hugging Face form',
    )
    .option('--input-len <tokens>', 'of a prompt, beside its prefix', integerOption(1, 1_000_000), 1024)
    .option(
      '--output-len <tokens>',
      'of an answer, at most (exactly with --ignore-eos)',
      integerOption(1, 1_000_000),
      128,
    )
    .option(
      '--range-ratio <share>',
      'lengths are uniform within this share of theirs',
      numberOption(0, 0.999),
      0,
    )
    .option(
      '--prefix-len <tokens>',
      'that a prompt begins with and shares with others',
      integerOption(0, 1_000_000),
      0,
    )
    .option('--num-prefixes <n>', 'different ones', integerOption(1, MAX_BENCH_REQUESTS), 1)
    .option('--pictures <n>', 'of each prompt', integerOption(0, 20), 0)
    .addOption(
      new Option('--picture-size <size>', 'WIDTHxHEIGHT in pixels')
        .argParser(sizeOption)
        .default([448, 448], '448x448'),
    )
    .option(
      '--picture-pool <n>',
      'so many different pictures; 0: every one is new',
      integerOption(0, 100_000),
      0,
    )
    .option('--turns <n>', 'of a conversation; each waits for the answer before it', integerOption(1, 256), 1)
    .option('--think-time <seconds>', 'between an answer and the next turn', numberOption(0, 86_400), 0)
    .option('--trace <file>', 'requests from a file: a JSON object a line (docs/benchmarking.md)')
    .option('--trace-speed <factor>', 'times of the trace pass so much faster', numberOption(0.001, 1000), 1)
    .option('--trace-block-size <tokens>', 'that each of hash_ids stands for', integerOption(1, 65_536), 512)
    .option('--priority <n>', 'of every request: smaller goes first', priorityOption)
    .option('--ignore-eos', 'answers are exactly as long as asked for')
    .option('--temperature <number>', "default: the server's own", numberOption(0, MAX_TEMPERATURE));
}

function addLoadOptions(command: Command): void {
  command
    .option(
      '--rate <list>',
      'requests a second, a run for each: 1,2,4; inf: all at once; default: inf, of a trace its own times',
      ratesOption,
    )
    .option(
      '--burstiness <shape>',
      'of the gamma distribution of intervals: 1 is Poisson, below 1 comes in bursts, above is more even',
      numberOption(0.01, 10_000),
      1,
    )
    .option(
      '--num-prompts <n>',
      'of each rate (default: 100, with --duration any)',
      integerOption(1, MAX_BENCH_REQUESTS),
    )
    .option('--duration <seconds>', 'of each rate: no later arrivals', numberOption(0.1, 86_400))
    .option('--warm-ups <n>', 'requests before the first rate, not counted', integerOption(0, 1000), 1)
    .option('--max-concurrency <n>', 'requests at once; others are held back', integerOption(1, 100_000))
    .option('--seed <n>', 'of everything that is drawn', integerOption(0, 2 ** 32), 0);
}
