// What the flags of `skein bench serve` come to: a target, the settings of a run, and facts for its results. Relations
// between flags are checked here; INVALID_REQUEST names them.
import { cpus } from 'node:os';
import { GrpcTarget } from '../../bench-serve/grpc-target.js';
import { parseGoodput } from '../../bench-serve/goodput.js';
import { HttpTarget } from '../../bench-serve/http-target.js';
import type { PromptForm, Tokenize } from '../../bench-serve/prompts.js';
import type { ResultHead } from '../../bench-serve/report/result.js';
import type { RunOptions } from '../../bench-serve/run.js';
import type { Target } from '../../bench-serve/target.js';
import { readTrace, type TraceLine } from '../../bench-serve/trace.js';
import { AppError } from '../../common/errors.js';
import { checkAddress } from '../../common/grpc-server.js';
import { MAX_BENCH_REQUESTS } from '../../common/limits.js';
import { VERSION } from '../../common/version.js';
import type { Backend, BenchFlags } from './bench-options.js';

const DEFAULT_NUM_PROMPTS = 100;

export interface BenchPlan {
  readonly backend: Backend;
  readonly target: Target;
  /** As the results say it. */
  readonly address: string;
  readonly run: RunOptions;
}

/** `environment`: for OPENAI_API_KEY. */
export async function planBenchmark(
  flags: BenchFlags,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<BenchPlan> {
  const backend = flags.backend ?? (flags.baseUrl === undefined ? 'grpc' : 'openai-chat');
  const form = promptForm(flags, backend);
  checkTurns(flags, backend);
  const trace =
    flags.trace === undefined ? null : readTrace(flags.trace, flags.numPrompts ?? MAX_BENCH_REQUESTS);
  const run = toRunOptions(flags, form, trace);
  const address = backend === 'grpc' ? checkAddress(flags.address, '--address') : baseUrl(flags);
  const tokenize = flags.tokenizer === undefined ? null : await localTokenizer(flags.tokenizer);
  const target = createTarget(flags, backend, address, environment['OPENAI_API_KEY'] ?? '');
  return { backend, target, address, run: { ...run, tokenize } };
}

function createTarget(flags: BenchFlags, backend: Backend, address: string, apiKey: string): Target {
  const { model, header, connections, extraBody } = flags;
  const { temperature = null, ignoreEos = false, priority } = flags;
  const sampling = { temperature, ignoreEos, priority };
  if (backend === 'grpc') {
    if (Object.keys(header).some((name) => name.endsWith('-bin')))
      throw wrong('header', 'of gRPC must not end in -bin: such metadata is no text');
    if (Object.keys(extraBody).length > 0) throw wrong('extra-body', 'is for HTTP: gRPC has no such fields');
    return new GrpcTarget({ ...sampling, address, connections, model, headers: header });
  }
  const bearer: Record<string, string> = apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` };
  return new HttpTarget({
    ...sampling,
    ...{ baseUrl: address, model, extraBody },
    api: backend === 'openai' ? 'completions' : 'chat',
    endpoint: flags.endpoint ?? null,
    headers: { ...bearer, ...header },
  });
}

function promptForm({ prompts, pictures }: BenchFlags, backend: Backend): PromptForm {
  switch (backend) {
    case 'grpc':
      return prompts === 'text' ? 'messages' : 'ids';
    case 'openai-chat':
      if (prompts === 'ids') throw wrong('prompts', 'ids is for grpc and openai: a chat has no ids');
      return 'messages';
    case 'openai':
      if (pictures > 0) throw wrong('pictures', 'needs grpc or openai-chat: completions take none');
      return prompts ?? 'ids';
  }
}

function checkTurns({ turns, trace, pictures, prefixLen }: BenchFlags, backend: Backend): void {
  if (turns > 1 && backend === 'openai')
    throw wrong(
      'turns',
      `${turns} needs grpc or openai-chat: the ids of an answer do not come with completions`,
    );
  if (trace === undefined) return;
  if (turns > 1) throw wrong('turns', 'a trace has requests of one turn');
  if (pictures > 0 || prefixLen > 0)
    throw wrong('trace', 'says what is asked: --pictures and --prefix-len are not for it');
}

function toRunOptions(
  flags: BenchFlags,
  form: PromptForm,
  trace: readonly TraceLine[] | null,
): Omit<RunOptions, 'tokenize'> {
  const { seed, inputLen, outputLen, duration, thinkTime } = flags;
  const isTimed = trace?.[0]?.timestampMs !== null && trace !== null;
  const rates = flags.rate ?? [isTimed ? null : Infinity];
  if (duration !== undefined && rates.includes(Infinity))
    throw wrong('duration', 'needs a finite --rate: otherwise all requests come at once');
  if (trace !== null && form === 'ids' && trace.some(({ prompt }) => prompt !== null))
    throw wrong('trace', 'has prompts as text: give --prompts text');
  const [pictureWidth, pictureHeight] = flags.pictureSize;
  return {
    workload: {
      seed,
      ...{ inputLength: inputLen, outputLength: outputLen, rangeRatio: flags.rangeRatio },
      ...{ prefixLength: flags.prefixLen, numPrefixes: flags.numPrefixes },
      ...{ pictures: flags.pictures, pictureWidth, pictureHeight, picturePool: flags.picturePool },
      ...{ turns: flags.turns, thinkTimeMs: thinkTime * 1000 },
    },
    trace:
      trace === null
        ? null
        : {
            lines: trace,
            options: { speed: flags.traceSpeed, blockSize: flags.traceBlockSize, outputLength: outputLen },
          },
    form,
    rates,
    burstiness: flags.burstiness,
    numPrompts:
      flags.numPrompts ??
      trace?.length ??
      (duration === undefined ? DEFAULT_NUM_PROMPTS : MAX_BENCH_REQUESTS),
    durationMs: duration === undefined ? null : duration * 1000,
    numWarmUps: flags.warmUps,
    maxConcurrency: flags.maxConcurrency ?? null,
    requestTimeoutMs: flags.requestTimeout * 1000,
    goodput: flags.goodput === undefined ? null : parseGoodput(flags.goodput),
    percents: flags.percentiles,
    maxLagMs: flags.maxLag,
  };
}

function baseUrl({ baseUrl: text }: BenchFlags): string {
  if (text === undefined) throw wrong('base-url', 'is missing: openai and openai-chat ask over HTTP');
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong('base-url', `${text} is no URL`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw wrong('base-url', `${text} is neither http nor https`);
  if (url.username !== '' || url.password !== '')
    throw wrong('base-url', 'holds credentials, which would stand in the results: give --header');
  return text;
}

async function localTokenizer(folder: string): Promise<Tokenize> {
  const { loadTextProcessor } = await import('../tokenizer/load-text-processor.js');
  const processor = await loadTextProcessor({ folder, tokensPerTile: null, eosTokenIds: [] });
  return (text, asChat) => {
    const ids = asChat
      ? processor.encodeChat([{ role: 'user', parts: [{ type: 'text', text }] }]).tokenIds
      : processor.encodeText(text, { allowSpecial: false });
    return Promise.resolve([...ids]);
  };
}

/** Files of results, and what stands elsewhere in them. */
const NOT_SHOWN: ReadonlySet<string> = new Set(['output', 'report', 'label', 'baseUrl', 'address']);

/** What the results say beside the numbers; of headers no values, which may be secret. */
export function resultHead(
  { backend, address }: BenchPlan,
  flags: BenchFlags,
  served: { readonly model: string; readonly facts: ResultHead['target']['facts'] },
): ResultHead {
  const shown = { ...flags, header: Object.keys(flags.header) };
  const settings = Object.entries(shown)
    .filter(([name, value]) => !NOT_SHOWN.has(name) && !isEmpty(value))
    .map(([name, value]) => [kebab(name), name === 'rate' ? (value as number[]).join(',') : value]);
  return {
    benchmark: 'skein bench serve',
    version: VERSION,
    date: new Date().toISOString(),
    client: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version },
    target: { address, api: backend, model: served.model, facts: served.facts },
    settings: Object.fromEntries(settings) as Record<string, unknown>,
    label: flags.label ?? null,
  };
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined || value === '' || (typeof value === 'object' && Object.keys(value!).length === 0)
  );
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function wrong(flag: string, message: string): AppError {
  return new AppError('INVALID_REQUEST', `--${flag} ${message}`, { details: { param: flag } });
}
