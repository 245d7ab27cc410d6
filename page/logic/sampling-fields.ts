// The sampling panel as data: which fields there are, what may stand in them, and how their text becomes a request.
// What is left empty is not sent, and takes the server's default.
import {
  MAX_PENALTY,
  MAX_REPETITION_PENALTY,
  MAX_STOP_STRINGS,
  MAX_TEMPERATURE,
  MAX_UINT32,
} from '../../common/limits.js';

export type SamplingText = Readonly<Record<string, string>>;

export interface SamplingField {
  readonly name: string;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly isInteger?: true;
  /** The least value itself is not taken. */
  readonly isAboveMin?: true;
}

/** Ranges are those of the API, which checks them again. */
export const MAIN_FIELDS: readonly SamplingField[] = [
  { name: 'temperature', label: 'Temperature', hint: '0 is greedy', min: 0, max: MAX_TEMPERATURE },
  { name: 'top_p', label: 'Top-p', hint: '1 is off', min: 0, max: 1, isAboveMin: true },
  { name: 'top_k', label: 'Top-k', hint: '0 is off', min: 0, max: MAX_UINT32, isInteger: true },
  { name: 'min_p', label: 'Min-p', hint: '0 is off', min: 0, max: 1 },
  {
    name: 'max_completion_tokens',
    label: 'Most tokens',
    hint: 'reasoning included',
    min: 1,
    max: MAX_UINT32,
    isInteger: true,
  },
  {
    name: 'seed',
    label: 'Seed',
    hint: 'repeats an answer',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    isInteger: true,
  },
];

const PENALTY = { min: -MAX_PENALTY, max: MAX_PENALTY, hint: '0 is off' };
export const PENALTY_FIELDS: readonly SamplingField[] = [
  { name: 'presence_penalty', label: 'Presence', ...PENALTY },
  { name: 'frequency_penalty', label: 'Frequency', ...PENALTY },
  {
    name: 'repetition_penalty',
    label: 'Repetition',
    hint: '1 is off',
    min: 0,
    max: MAX_REPETITION_PENALTY,
    isAboveMin: true,
  },
];

const SAMPLING_FIELDS = [...MAIN_FIELDS, ...PENALTY_FIELDS];

/** One a line. */
export const STOP_FIELD = 'stop';

/** What is wrong with a field's text; null: nothing. */
export function samplingProblem(field: SamplingField, text: string): string | null {
  if (text.trim() === '') return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return 'is not a number';
  if (field.isInteger === true && !Number.isInteger(value)) return 'must be a whole number';
  if (value < field.min || (field.isAboveMin === true && value === field.min))
    return field.isAboveMin === true ? `must be above ${field.min}` : `must be ${field.min} or more`;
  return value > field.max ? `must be ${field.max} or less` : null;
}

export function stopProblem(text: string): string | null {
  const num = stopStrings(text).length;
  return num > MAX_STOP_STRINGS ? `has ${num} lines; the limit is ${MAX_STOP_STRINGS}` : null;
}

export function hasProblem(texts: SamplingText): boolean {
  return (
    stopProblem(texts[STOP_FIELD] ?? '') !== null ||
    SAMPLING_FIELDS.some((field) => samplingProblem(field, texts[field.name] ?? '') !== null)
  );
}

/** Fields of a request; those with a problem are left out. */
export function toSampling(texts: SamplingText): Record<string, unknown> {
  const sampling: Record<string, unknown> = {};
  for (const field of SAMPLING_FIELDS) {
    const text = texts[field.name] ?? '';
    if (text.trim() !== '' && samplingProblem(field, text) === null) sampling[field.name] = Number(text);
  }
  const stop = stopStrings(texts[STOP_FIELD] ?? '');
  if (stop.length > 0) sampling[STOP_FIELD] = stop;
  return sampling;
}

function stopStrings(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
