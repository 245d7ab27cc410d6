// Reads a trace of requests: one JSON object a line, in the form of Mooncake's published traces (timestamp in ms,
// input_length, output_length, hash_ids of blocks of the prompt) or with a prompt as it is.
import { readFileSync } from 'node:fs';
import { AppError } from '../common/errors.js';
import { MAX_BENCH_REQUESTS, MAX_BENCH_TRACE_BYTES, MAX_PROMPT_CHARS } from '../common/limits.js';

export interface TraceLine {
  /** Since the trace's start; null: the trace has no times. */
  readonly timestampMs: number | null;
  /** 0 where there is a prompt. */
  readonly inputLength: number;
  readonly outputLength: number | null;
  readonly hashIds: readonly (number | string)[];
  readonly prompt: string | null;
}

/** INVALID_REQUEST names file and line; the lines come back in the order of their times. */
export function readTrace(file: string, maxLines: number): TraceLine[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(`--trace ${file}: ${(error as Error).message}`);
  }
  if (text.length > MAX_BENCH_TRACE_BYTES)
    throw invalid(`--trace ${file}: more than ${MAX_BENCH_TRACE_BYTES} bytes`);
  return parseTrace(text, file, maxLines);
}

export function parseTrace(text: string, file: string, maxLines = MAX_BENCH_REQUESTS): TraceLine[] {
  const lines: TraceLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    if (lines.length === maxLines) break;
    lines.push(parseLine(line, `--trace ${file}: line ${index + 1}`));
  }
  if (lines.length === 0) throw invalid(`--trace ${file}: no lines`);
  const numTimed = lines.filter(({ timestampMs }) => timestampMs !== null).length;
  if (numTimed !== 0 && numTimed !== lines.length)
    throw invalid(`--trace ${file}: ${numTimed} of ${lines.length} lines have a timestamp; all or none must`);
  return inOrder(lines);
}

function parseLine(line: string, where: string): TraceLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw invalid(`${where}: no JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${where}: an object is expected`);
  const { timestamp, input_length, output_length, output_tokens, hash_ids, prompt } = value as Record<
    string,
    unknown
  >;
  const hasPrompt = prompt !== undefined;
  if (hasPrompt && (typeof prompt !== 'string' || prompt === '' || prompt.length > MAX_PROMPT_CHARS))
    throw invalid(`${where}: prompt must be a text of 1 to ${MAX_PROMPT_CHARS} characters`);
  if (timestamp !== undefined && !(typeof timestamp === 'number' && timestamp >= 0 && timestamp < 1e12))
    throw invalid(`${where}: timestamp must be milliseconds of 0 or more`);
  if (hasPrompt === (input_length !== undefined))
    throw invalid(`${where}: input_length or prompt must be given, and not both`);
  const output = output_length ?? output_tokens;
  return {
    timestampMs: timestamp ?? null,
    inputLength: hasPrompt ? 0 : lengthOf(input_length, `${where}: input_length`),
    outputLength: output === undefined ? null : lengthOf(output, `${where}: output_length`),
    hashIds: hashIdsOf(hash_ids, where),
    prompt: hasPrompt ? prompt : null,
  };
}

function lengthOf(value: unknown, what: string): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 10_000_000)
    return value as number;
  throw invalid(`${what} must be an integer of 1 to 10000000`);
}

function hashIdsOf(value: unknown, where: string): readonly (number | string)[] {
  if (value === undefined) return [];
  const isList =
    Array.isArray(value) && value.every((item) => typeof item === 'number' || typeof item === 'string');
  if (!isList) throw invalid(`${where}: hash_ids must be a list of numbers or texts`);
  return value;
}

/** The first request is due at the start. */
function inOrder(lines: TraceLine[]): TraceLine[] {
  if (lines[0]!.timestampMs === null) return lines;
  const sorted = lines.sort((a, b) => a.timestampMs! - b.timestampMs!);
  const first = sorted[0]!.timestampMs!;
  return sorted.map((line) => ({ ...line, timestampMs: line.timestampMs! - first }));
}

function invalid(message: string): AppError {
  return new AppError('INVALID_REQUEST', message, { details: { param: 'trace' } });
}
