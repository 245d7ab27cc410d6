// Pictures in a prompt that a client sends as token ids: each stands where the picture token is, once or as often as
// the picture has tokens. Knows numbers only.
import { AppError } from '../../common/errors.js';
import type { EncodedPrompt } from './text-processor.js';

export type PlacedPictures = Pick<EncodedPrompt, 'tokenIds' | 'pictures'>;

export interface PicturePlaces {
  /** Both null for text-only models. */
  readonly pictureTokenId: number | null;
  readonly tokensPerTile: number | null;
}

function invalid(message: string): AppError {
  return new AppError('INVALID_REQUEST', `prompt_token_ids ${message}`, {
    details: { param: 'prompt_token_ids' },
  });
}

/** Without pictures the ids stay as they are, whatever they hold. */
export function placePictures(
  tokenIds: Uint32Array,
  numTiles: readonly number[],
  { pictureTokenId, tokensPerTile }: PicturePlaces,
): PlacedPictures {
  if (numTiles.length === 0) return { tokenIds, pictures: [] };
  if (pictureTokenId === null || tokensPerTile === null) {
    throw invalid('cannot hold pictures: the model takes text only');
  }
  const runs = findRuns(tokenIds, pictureTokenId);
  if (runs.length !== numTiles.length) {
    throw invalid(
      `has ${runs.length} runs of the picture token ${pictureTokenId} for ${numTiles.length} pictures`,
    );
  }
  const ids: number[] = [];
  const pictures: EncodedPrompt['pictures'][number][] = [];
  let copied = 0;
  for (const [index, { start, end }] of runs.entries()) {
    const numTokens = numTiles[index]! * tokensPerTile;
    if (end - start !== 1 && end - start !== numTokens) {
      throw invalid(
        `has ${end - start} picture tokens for picture ${index}, which has ${numTokens}: send one, or all`,
      );
    }
    for (const id of tokenIds.subarray(copied, start)) ids.push(id);
    pictures.push({ firstPosition: ids.length, numTokens });
    for (let token = 0; token < numTokens; token++) ids.push(pictureTokenId);
    copied = end;
  }
  for (const id of tokenIds.subarray(copied)) ids.push(id);
  return { tokenIds: Uint32Array.from(ids), pictures };
}

function findRuns(
  tokenIds: Uint32Array,
  tokenId: number,
): { readonly start: number; readonly end: number }[] {
  const runs = [];
  for (let start = tokenIds.indexOf(tokenId); start >= 0;) {
    let end = start + 1;
    while (end < tokenIds.length && tokenIds[end] === tokenId) end += 1;
    runs.push({ start, end });
    start = tokenIds.indexOf(tokenId, end);
  }
  return runs;
}
