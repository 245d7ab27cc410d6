// The sampling options of a request, checked and completed: defaults, ranges, one error a field. The command line and
// every API go through here; what the fields are stands in common/sampling.ts.
import { randomFillSync } from 'node:crypto';
import { AppError } from '../../common/errors.js';
import {
  MAX_LOGIT_BIAS,
  MAX_LOGIT_BIAS_ENTRIES,
  MAX_STOP_STRINGS,
  MAX_STOP_STRING_CHARS,
  MAX_STOP_TOKEN_IDS,
  MAX_TOP_LOGPROBS,
  MAX_UINT32,
  MAX_UINT64,
} from '../../common/limits.js';
import {
  isInRange,
  mapRanges,
  rangeText,
  SAMPLING_RANGES,
  type SamplingDefaults,
  type SamplingInput,
  type SamplingParams,
  type SamplingRange,
} from '../../common/sampling.js';

export interface ResolvedSampling {
  readonly params: SamplingParams;
  /** Null: as many as fit. */
  readonly maxTokens: number | null;
  /** The request did not name maxTokens: where the context holds fewer, that many. */
  readonly maxTokensIsDefault: boolean;
  readonly stop: readonly string[];
  /** Ids that end it by themselves; none where they are ignored. */
  readonly eosTokenIds: readonly number[];
  /** Special tokens are no part of the text. */
  readonly skipSpecialTokens: boolean;
}

export interface SamplingContext {
  readonly vocabSize: number;
  /** Ids that end a sequence of this model. */
  readonly eosTokenIds: readonly number[];
  readonly defaults: SamplingDefaults;
  /** For a request that names none: 64 bits. */
  readonly drawSeed?: () => bigint;
  /** Default: 0. */
  readonly choiceIndex?: number;
}

export function resolveSampling(input: SamplingInput, context: SamplingContext): ResolvedSampling {
  const { defaults, vocabSize } = context;
  const ownMaxTokens =
    input.maxTokens === undefined ? null : integer(input.maxTokens, 'max_tokens', 1, MAX_UINT32);
  const minTokensRange = { ...SAMPLING_RANGES.minTokens, max: ownMaxTokens ?? MAX_UINT32 };
  const numbers = mapRanges((range, field) =>
    checkRange(input[field] ?? defaults[field], field === 'minTokens' ? minTokensRange : range),
  );
  const defaultMaxTokens =
    defaults.maxTokens === undefined ? null : Math.max(defaults.maxTokens, numbers.minTokens);
  const ownStopIds = tokenIds(input.stopTokenIds ?? [], 'stop_token_ids', MAX_STOP_TOKEN_IDS, vocabSize);
  // A checkpoint may name ids that its embedding does not have.
  const eosIds = input.ignoreEos === true ? [] : context.eosTokenIds.filter((id) => id < vocabSize);
  const bias = logitBias(input.logitBias ?? new Map<number, number>(), vocabSize);
  return {
    maxTokens: ownMaxTokens ?? defaultMaxTokens,
    maxTokensIsDefault: ownMaxTokens === null,
    stop: stopStrings(input.stop ?? []),
    eosTokenIds: eosIds,
    skipSpecialTokens: input.skipSpecialTokens ?? defaults.skipSpecialTokens,
    params: {
      ...numbers,
      topK: numbers.topK >= vocabSize ? 0 : numbers.topK,
      seed: checkSeed(input.seed, context.drawSeed ?? randomSeed),
      choiceIndex: context.choiceIndex ?? 0,
      numTopLogprobs: integer(
        input.topLogprobs ?? 0,
        'top_logprobs',
        0,
        Math.min(MAX_TOP_LOGPROBS, vocabSize),
      ),
      returnLogprobs: input.topLogprobs !== undefined,
      stopTokenIds: [...new Set([...eosIds, ...ownStopIds])],
      logitBiasIds: [...bias.keys()],
      logitBiasValues: [...bias.values()],
    },
  };
}

/** A missing seed is drawn once, here, so that every rank and every replay has the same. */
function checkSeed(seed: bigint | undefined, drawSeed: () => bigint): bigint {
  if (seed === undefined) return drawSeed();
  if (seed < 0n || seed > MAX_UINT64)
    throw outOfRange('seed', String(seed), `an integer of 0 to ${MAX_UINT64}`);
  return seed;
}

const SEED_BYTES = 8;
/** The system is asked for many seeds at once, for a single one takes as long. */
const seeds = new DataView(new ArrayBuffer(128 * SEED_BYTES));
let seedOffset = seeds.byteLength;

export function randomSeed(): bigint {
  if (seedOffset === seeds.byteLength) {
    randomFillSync(seeds);
    seedOffset = 0;
  }
  const seed = seeds.getBigUint64(seedOffset);
  seedOffset += SEED_BYTES;
  return seed;
}

function integer(value: number, name: string, min: number, max: number): number {
  return checkRange(value, { name, min, max, isInteger: true });
}

/** In the precision that the ranks use, so that nothing becomes 0 or infinite on the way to them. */
function checkRange(input: number, range: Omit<SamplingRange, 'neutral'>): number {
  const value = range.isInteger ? input : Math.fround(input);
  if (!isInRange(value, range)) throw outOfRange(range.name, String(value), rangeText(range));
  // -0 would be another number to whoever compares bits.
  return value + 0;
}

function tokenIds(
  ids: readonly number[],
  field: string,
  maxCount: number,
  vocabSize: number,
): readonly number[] {
  if (ids.length > maxCount) throw outOfRange(field, `${ids.length} entries`, `at most ${maxCount} entries`);
  for (const id of ids) integer(id, field, 0, vocabSize - 1);
  return ids;
}

function stopStrings(stop: readonly string[]): readonly string[] {
  if (stop.length > MAX_STOP_STRINGS)
    throw outOfRange('stop', `${stop.length} strings`, `at most ${MAX_STOP_STRINGS}`);
  for (const each of stop) {
    if (each.length < 1 || each.length > MAX_STOP_STRING_CHARS) {
      throw outOfRange(
        'stop',
        `a string of ${each.length} characters`,
        `1 to ${MAX_STOP_STRING_CHARS} characters each`,
      );
    }
  }
  return stop;
}

function logitBias(bias: ReadonlyMap<number, number>, vocabSize: number): ReadonlyMap<number, number> {
  if (bias.size > MAX_LOGIT_BIAS_ENTRIES) {
    throw outOfRange('logit_bias', `${bias.size} entries`, `at most ${MAX_LOGIT_BIAS_ENTRIES} entries`);
  }
  for (const [id, value] of bias) {
    integer(id, 'logit_bias', 0, vocabSize - 1);
    checkRange(value, { name: 'logit_bias', min: -MAX_LOGIT_BIAS, max: MAX_LOGIT_BIAS });
  }
  return bias;
}

function outOfRange(field: string, got: string, expected: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} must be ${expected}; got ${got}`, {
    details: { param: field },
  });
}
