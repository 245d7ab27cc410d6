// The sampling options of a request: defaults, ranges, one error a field. Names are those of skein.inference.v1; the
// command line and every API go through here.
import { randomBytes } from 'node:crypto';
import { AppError } from '../../common/errors.js';
import {
  MAX_LOGIT_BIAS_ENTRIES,
  MAX_STOP_STRINGS,
  MAX_STOP_STRING_CHARS,
  MAX_STOP_TOKEN_IDS,
  MAX_TOP_LOGPROBS,
} from '../../common/limits.js';
import type { SamplingParams } from '../executor/step-loop.js';

/** As given; absent fields take the defaults. */
export interface SamplingInput {
  readonly temperature?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
  readonly minP?: number | undefined;
  readonly repetitionPenalty?: number | undefined;
  readonly presencePenalty?: number | undefined;
  readonly frequencyPenalty?: number | undefined;
  readonly seed?: bigint | undefined;
  readonly maxTokens?: number | undefined;
  readonly minTokens?: number | undefined;
  readonly ignoreEos?: boolean | undefined;
  readonly stop?: readonly string[] | undefined;
  readonly stopTokenIds?: readonly number[] | undefined;
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
  readonly topLogprobs?: number | undefined;
  readonly skipSpecialTokens?: boolean | undefined;
}

export interface ResolvedSampling {
  readonly params: SamplingParams;
  /** Null: as many as fit. */
  readonly maxTokens: number | null;
  /** The request did not name maxTokens: where the context holds fewer, that many. */
  readonly maxTokensIsDefault: boolean;
  readonly stop: readonly string[];
  /** Special tokens are no part of the text. */
  readonly skipSpecialTokens: boolean;
}

/** What absent fields of a request take. */
export interface SamplingDefaults {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly minTokens: number;
  readonly skipSpecialTokens: boolean;
  /** Absent: as many as fit. */
  readonly maxTokens?: number;
}

/** Greedy, and nothing else. */
export const NEUTRAL_SAMPLING: SamplingDefaults = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  minTokens: 0,
  skipSpecialTokens: true,
};

const MAX_UINT32 = 0xffff_ffff;
const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;
const MAX_TEMPERATURE = 100;
const MAX_REPETITION_PENALTY = 100;
const MAX_PENALTY = 2;
const MAX_LOGIT_BIAS = 100;

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
  const { defaults } = context;
  const ownMaxTokens =
    input.maxTokens === undefined ? null : integer(input.maxTokens, 'max_tokens', 1, MAX_UINT32);
  const minTokens = integer(
    input.minTokens ?? defaults.minTokens,
    'min_tokens',
    0,
    ownMaxTokens ?? MAX_UINT32,
  );
  const defaultMaxTokens = defaults.maxTokens === undefined ? null : Math.max(defaults.maxTokens, minTokens);
  const ownStopIds = tokenIds(
    input.stopTokenIds ?? [],
    'stop_token_ids',
    MAX_STOP_TOKEN_IDS,
    context.vocabSize,
  );
  // A checkpoint may name ids that its embedding does not have.
  const eosIds = input.ignoreEos === true ? [] : context.eosTokenIds.filter((id) => id < context.vocabSize);
  const bias = logitBias(input.logitBias ?? new Map<number, number>(), context.vocabSize);
  const numTopLogprobs = integer(
    input.topLogprobs ?? 0,
    'top_logprobs',
    0,
    Math.min(MAX_TOP_LOGPROBS, context.vocabSize),
  );
  const topK = integer(input.topK ?? defaults.topK, 'top_k', 0, MAX_UINT32);
  return {
    maxTokens: ownMaxTokens ?? defaultMaxTokens,
    maxTokensIsDefault: ownMaxTokens === null,
    stop: stopStrings(input.stop ?? []),
    skipSpecialTokens: input.skipSpecialTokens ?? defaults.skipSpecialTokens,
    params: {
      temperature: real(input.temperature ?? defaults.temperature, 'temperature', 0, MAX_TEMPERATURE),
      topK: topK >= context.vocabSize ? 0 : topK,
      topP: positive(input.topP ?? defaults.topP, 'top_p', 1),
      minP: real(input.minP ?? defaults.minP, 'min_p', 0, 1),
      repetitionPenalty: positive(
        input.repetitionPenalty ?? defaults.repetitionPenalty,
        'repetition_penalty',
        MAX_REPETITION_PENALTY,
      ),
      presencePenalty: real(
        input.presencePenalty ?? defaults.presencePenalty,
        'presence_penalty',
        -MAX_PENALTY,
        MAX_PENALTY,
      ),
      frequencyPenalty: real(
        input.frequencyPenalty ?? defaults.frequencyPenalty,
        'frequency_penalty',
        -MAX_PENALTY,
        MAX_PENALTY,
      ),
      seed: checkSeed(input.seed, context.drawSeed ?? randomSeed),
      choiceIndex: context.choiceIndex ?? 0,
      minTokens,
      numTopLogprobs,
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

export function randomSeed(): bigint {
  return randomBytes(8).readBigUInt64LE();
}

function integer(value: number, field: string, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw outOfRange(field, String(value), `an integer of ${min} to ${max}`);
  }
  return value;
}

/** In the precision that the ranks use, so that nothing becomes 0 or infinite on the way to them. */
function real(input: number, field: string, min: number, max: number): number {
  const value = Math.fround(input);
  if (!Number.isFinite(value) || value < min || value > max)
    throw outOfRange(field, String(value), `${min} to ${max}`);
  // -0 would be another number to whoever compares bits.
  return value + 0;
}

function positive(input: number, field: string, max: number): number {
  const value = Math.fround(input);
  if (!Number.isFinite(value) || value <= 0 || value > max) {
    throw outOfRange(field, String(value), `above 0 and at most ${max}`);
  }
  return value;
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
    real(value, 'logit_bias', -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS);
  }
  return bias;
}

function outOfRange(field: string, got: string, expected: string): AppError {
  return new AppError('INVALID_REQUEST', `${field} must be ${expected}; got ${got}`, {
    details: { param: field },
  });
}
