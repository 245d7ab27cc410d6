// What is asked, drawn from a seed: conversations, the lengths of their turns, what their prompts have in common. Pure:
// no text and no ids yet, which depend on the server's tokenizer (prompts.ts).
import type { ArrivalOptions } from './arrivals.js';
import { drawArrivals } from './arrivals.js';
import { Random } from './random.js';
import type { TraceLine } from './trace.js';

export interface WorkloadOptions {
  readonly seed: number;
  /** Tokens of a user's turn that no other has, and of its answer. */
  readonly inputLength: number;
  readonly outputLength: number;
  /** Lengths are uniform within this share of theirs, on either side; 0: fixed. */
  readonly rangeRatio: number;
  /** Tokens at the beginning of each conversation that it shares with others, beside its own. */
  readonly prefixLength: number;
  readonly numPrefixes: number;
  /** Pictures of each first turn. */
  readonly pictures: number;
  readonly pictureWidth: number;
  readonly pictureHeight: number;
  /** So many different pictures are drawn from; 0: every picture is new. */
  readonly picturePool: number;
  /** Requests of a conversation; each waits for the answer before it. */
  readonly turns: number;
  /** From the end of an answer to the next turn. */
  readonly thinkTimeMs: number;
}

/** A run of a prompt: tokens that follow from the key alone, so that equal keys share them; or a text as it is. */
export type Segment = { readonly key: string; readonly tokens: number } | { readonly text: string };

export interface Turn {
  /** In order; the pictures of a turn stand before the last. */
  readonly segments: readonly Segment[];
  /** Names of pictures: equal names, equal pictures. */
  readonly pictures: readonly string[];
  readonly outputTokens: number;
}

export interface Conversation {
  readonly index: number;
  /** When its first turn is due, since the start. */
  readonly atMs: number;
  readonly turns: readonly Turn[];
}

/**
 * `point` names a rate of a sweep: its prompts are not those of another, which a cache of prefixes would remember.
 */
export function drawConversations(
  options: WorkloadOptions,
  arrivals: ArrivalOptions,
  point: string,
): Conversation[] {
  const { seed } = options;
  const times = drawArrivals(new Random(seed, point, 'arrivals'), arrivals);
  return times.map((atMs, index) => {
    const random = new Random(seed, point, 'conversation', index);
    const turns = Array.from({ length: options.turns }, (_, turn) =>
      drawTurn(options, random, `${point}/${index}/${turn}`, turn === 0 ? point : null),
    );
    return { index, atMs, turns };
  });
}

/** `point`: of a first turn, which has the prefix and the pictures; null for a later one. */
function drawTurn(options: WorkloadOptions, random: Random, key: string, point: string | null): Turn {
  const { prefixLength, numPrefixes, pictures, picturePool } = options;
  // Drawn in any case: the lengths of a conversation do not change with its prefix.
  const prefix = random.integer(0, numPrefixes - 1);
  const own: Segment = { key: `own/${key}`, tokens: drawLength(options.inputLength, options, random) };
  const outputTokens = drawLength(options.outputLength, options, random);
  if (point === null) return { segments: [own], pictures: [], outputTokens };
  const shared: Segment[] =
    prefixLength > 0 ? [{ key: `prefix/${point}/${prefix}`, tokens: prefixLength }] : [];
  const names = Array.from({ length: pictures }, (_, index) =>
    picturePool > 0 ? `pool/${random.integer(0, picturePool - 1)}` : `own/${key}/${index}`,
  );
  return { segments: [...shared, own], pictures: names, outputTokens };
}

function drawLength(length: number, { rangeRatio }: WorkloadOptions, random: Random): number {
  const low = Math.max(1, Math.floor(length * (1 - rangeRatio)));
  return random.integer(low, Math.max(low, Math.ceil(length * (1 + rangeRatio))));
}

export interface TraceOptions {
  /** Twice as fast: 2. */
  readonly speed: number;
  /** Tokens of a block that a line's hash_ids name. */
  readonly blockSize: number;
  readonly outputLength: number;
}

/**
 * A trace's lines as conversations of one turn, at the trace's times, or at those given. Blocks with equal hashes have
 * equal tokens, in the whole sweep as in the trace.
 */
export function traceConversations(
  lines: readonly TraceLine[],
  { speed, blockSize, outputLength }: TraceOptions,
  times: readonly number[] | null,
): Conversation[] {
  return lines.map((line, index) => ({
    index,
    atMs: times?.[index] ?? (line.timestampMs ?? 0) / speed,
    turns: [
      {
        segments: line.prompt === null ? traceSegments(line, index, blockSize) : [{ text: line.prompt }],
        pictures: [],
        outputTokens: line.outputLength ?? outputLength,
      },
    ],
  }));
}

/** Blocks in order, the last as far as the prompt goes; what no hash names is the line's own. */
function traceSegments({ inputLength, hashIds }: TraceLine, index: number, blockSize: number): Segment[] {
  const segments: Segment[] = [];
  let left = inputLength;
  for (const hash of hashIds) {
    if (left === 0) break;
    const tokens = Math.min(blockSize, left);
    segments.push({ key: `block/${hash}`, tokens });
    left -= tokens;
  }
  if (left > 0) segments.push({ key: `line/${index}`, tokens: left });
  return segments;
}
