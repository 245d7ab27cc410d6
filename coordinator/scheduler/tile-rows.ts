// Which rows of a sequence stand for which tiles of its pictures: how far a step can go with the tiles that it may
// encode, and which those are.
import type { PictureState, Sequence } from './sequence.js';
import type { EncodeItem } from './step-plan.js';

const NOTHING: readonly EncodeItem[] = [];

export interface StepBudget {
  readonly tilesLeft: number;
  readonly maskBytesLeft: number;
}

export class TileRows {
  readonly #tokensPerTile: number;
  #numEncoded = 0;

  constructor(tokensPerTile: number) {
    this.#tokensPerTile = tokensPerTile;
  }

  /** Tiles that went through the vision tower, or will in a plan that was made. */
  get numEncoded(): number {
    return this.#numEncoded;
  }

  endOf(picture: PictureState): number {
    return this.#positionOf(picture, picture.numTiles);
  }

  /**
   * Rows of the sequence that can run from `start` on, at most `wanted`, with what the step has left: a row of a
   * picture needs its tile encoded in this step or an earlier one, and a row that samples its mask.
   */
  limitRows(sequence: Sequence, start: number, wanted: number, left: StepBudget): number {
    const maxRows = sequence.rowsBeforeMask(start, wanted, left);
    const end = start + maxRows;
    let { tilesLeft } = left;
    for (const picture of sequence.pictures) {
      if (this.endOf(picture) <= start) continue;
      if (picture.firstPosition >= end) break;
      for (const tile of this.#tilesToEncode(picture, start, end)) {
        if (tilesLeft === 0) return Math.max(this.#positionOf(picture, tile) - start, 0);
        tilesLeft -= 1;
      }
    }
    return maxRows;
  }

  /** Encode items for the rows that are not computed yet, up to `end`; marks their tiles as encoded. */
  encodeUpTo(sequence: Sequence, end: number): readonly EncodeItem[] {
    if (sequence.pictures.length === 0) return NOTHING;
    const items: EncodeItem[] = [];
    for (const picture of sequence.pictures) {
      if (picture.firstPosition >= end) break;
      if (picture.onRanks?.residence !== 'resident') continue;
      const { pictureId, isEncoded } = picture.onRanks;
      for (const tile of this.#tilesToEncode(picture, sequence.numComputedTokens, end)) {
        isEncoded[tile] = true;
        this.#numEncoded += 1;
        const last = items.at(-1);
        if (last?.pictureId === pictureId && last.tileEnd === tile)
          items[items.length - 1] = { ...last, tileEnd: tile + 1 };
        else items.push({ pictureId, tileStart: tile, tileEnd: tile + 1 });
      }
    }
    return items;
  }

  /** In order; those before `start` may be in the cache of keys and values. */
  #tilesToEncode(picture: PictureState, start: number, end: number): number[] {
    const tokensPerTile = this.#tokensPerTile;
    const first = Math.max(Math.floor((start - picture.firstPosition) / tokensPerTile), 0);
    const last = Math.min(Math.ceil((end - picture.firstPosition) / tokensPerTile), picture.numTiles);
    const tiles: number[] = [];
    for (let tile = first; tile < last; tile += 1)
      if (picture.onRanks?.isEncoded[tile] !== true) tiles.push(tile);
    return tiles;
  }

  #positionOf(picture: PictureState, tile: number): number {
    return picture.firstPosition + tile * this.#tokensPerTile;
  }
}
