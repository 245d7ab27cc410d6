// Cuts a width over ranks: whole units, contiguous, as even as possible, the first ranks getting the remainder. Pure
// arithmetic.

/** Half open. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Columns of an MLP are cut in blocks of this many: one packed AWQ word, one vector register of float32. */
export const BLOCK_COLUMNS = 8;

/** The range of `rank` when `total` units are dealt over `parts`: 25 over 4 is 7, 6, 6, 6. */
export function evenSplit(total: number, parts: number, rank: number): Range {
  const base = Math.floor(total / parts);
  const extra = total % parts;
  const start = rank * base + Math.min(rank, extra);
  return { start, end: start + base + (rank < extra ? 1 : 0) };
}

/** The same in blocks of BLOCK_COLUMNS; the last block may be ragged. */
export function blockSplit(width: number, parts: number, rank: number): Range {
  const blocks = evenSplit(numBlocks(width), parts, rank);
  return {
    start: Math.min(width, blocks.start * BLOCK_COLUMNS),
    end: Math.min(width, blocks.end * BLOCK_COLUMNS),
  };
}

export function numBlocks(width: number): number {
  return Math.ceil(width / BLOCK_COLUMNS);
}

/**
 * Rows that every rank holds of a vocabulary: the same number, so that gathered logits have one shape; the last rank's
 * surplus is padding. A multiple of BLOCK_COLUMNS where that still leaves the last rank a row. Null: some rank would
 * get none.
 */
export function vocabRowsPerRank(vocabSize: number, parts: number): number | null {
  const exact = Math.ceil(vocabSize / parts);
  const rounded = Math.ceil(exact / BLOCK_COLUMNS) * BLOCK_COLUMNS;
  for (const rows of [rounded, exact]) if (rows * (parts - 1) < vocabSize) return rows;
  return null;
}

export function sizeOf(range: Range): number {
  return range.end - range.start;
}
