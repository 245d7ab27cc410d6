// The sampling fields, once. Names and types are the protocol's: SamplingOptions is what a request may say,
// SamplingParams what a rank is told. Ranges and what is neutral stand here, for requests and for checkpoints that
// recommend something.
import type { SamplingOptions__Output } from '../proto/ts/skein/inference/v1/SamplingOptions.js';
import type { SamplingParams__Output } from '../proto/ts/skein/worker/v1/SamplingParams.js';
import { MAX_PENALTY, MAX_REPETITION_PENALTY, MAX_TEMPERATURE, MAX_UINT32 } from './limits.js';

/** What a request says; absent fields take the defaults. */
export type SamplingInput = {
  readonly [Field in keyof SamplingOptions__Output as Field extends `_${string}` ? never : Field]?:
    InputValue<Field> | undefined;
};

type InputValue<Field extends keyof SamplingOptions__Output> = Field extends 'seed'
  ? bigint
  : Field extends 'logitBias'
    ? ReadonlyMap<number, number>
    : SamplingOptions__Output[Field] extends (infer Item)[]
      ? readonly Item[]
      : SamplingOptions__Output[Field];

interface Range {
  /** As requests, checkpoints and errors write it. */
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** The value that changes nothing. */
  readonly neutral: number;
  readonly isInteger?: true;
  /** The least value itself is not in the range. */
  readonly isAboveMin?: true;
}

/** The numbers that have a default. */
export const SAMPLING_RANGES = {
  temperature: { name: 'temperature', min: 0, max: MAX_TEMPERATURE, neutral: 0 },
  topK: { name: 'top_k', min: 0, max: MAX_UINT32, neutral: 0, isInteger: true },
  topP: { name: 'top_p', min: 0, max: 1, neutral: 1, isAboveMin: true },
  minP: { name: 'min_p', min: 0, max: 1, neutral: 0 },
  repetitionPenalty: {
    name: 'repetition_penalty',
    min: 0,
    max: MAX_REPETITION_PENALTY,
    neutral: 1,
    isAboveMin: true,
  },
  presencePenalty: { name: 'presence_penalty', min: -MAX_PENALTY, max: MAX_PENALTY, neutral: 0 },
  frequencyPenalty: { name: 'frequency_penalty', min: -MAX_PENALTY, max: MAX_PENALTY, neutral: 0 },
  minTokens: { name: 'min_tokens', min: 0, max: MAX_UINT32, neutral: 0, isInteger: true },
} as const satisfies { readonly [Field in keyof SamplingInput]: Range };

export type SamplingRange = Range;
export type SamplingNumber = keyof typeof SAMPLING_RANGES;

/** What absent fields of a request take. */
export type SamplingDefaults = Readonly<Record<SamplingNumber, number>> & {
  readonly skipSpecialTokens: boolean;
  /** Absent: as many as fit. */
  readonly maxTokens?: number;
};

const FIELDS = Object.keys(SAMPLING_RANGES) as SamplingNumber[];

/** Greedy, and nothing else. */
export const NEUTRAL_SAMPLING: SamplingDefaults = {
  ...mapRanges(({ neutral }) => neutral),
  skipSpecialTokens: true,
};

/**
 * What a rank is told of one sequence. Ids and biases travel packed, the seed as text; every process has them as it
 * works with them.
 */
export type SamplingParams<Ids = readonly number[], Values = readonly number[]> = Readonly<
  Omit<SamplingParams__Output, 'seed' | 'stopTokenIds' | 'logitBiasIds' | 'logitBiasValues'>
> & {
  readonly seed: bigint;
  /** Ids that end the sequence: the scheduler ends it, the engine bans them before minTokens. */
  readonly stopTokenIds: Ids;
  readonly logitBiasIds: Ids;
  /** Aligned with logitBiasIds. */
  readonly logitBiasValues: Values;
};

/** Every field's value, made of its range. */
export function mapRanges<Value>(
  make: (range: SamplingRange, field: SamplingNumber) => Value,
): Record<SamplingNumber, Value> {
  const values: Partial<Record<SamplingNumber, Value>> = {};
  for (const field of FIELDS) values[field] = make(SAMPLING_RANGES[field], field);
  return values as Record<SamplingNumber, Value>;
}

export function isInRange(
  value: number,
  { min, max, isInteger, isAboveMin }: Omit<Range, 'neutral'>,
): boolean {
  if (isInteger ? !Number.isInteger(value) : !Number.isFinite(value)) return false;
  return (isAboveMin ? value > min : value >= min) && value <= max;
}

/** As it is said in errors. */
export function rangeText({ min, max, isInteger, isAboveMin }: Omit<Range, 'neutral'>): string {
  if (isInteger) return `an integer of ${min} to ${max}`;
  return isAboveMin ? `above ${min} and at most ${max}` : `${min} to ${max}`;
}
