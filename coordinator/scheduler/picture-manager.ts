// Owns the slots of the vision output cache, one a tile, and the life of pictures on the ranks. A slot goes back only
// when the step that released its picture has completed: until then a rank may still read it.
import { assert } from '../../common/assert.js';
import type { PictureState, Sequence } from './sequence.js';
import type { EncodeItem, PictureUpload } from './step-plan.js';

export class PictureManager {
  readonly numTileSlots: number;
  readonly #tokensPerTile: number;
  readonly #freeSlots: number[] = [];
  #nextPictureId = 1;
  #uploads: PictureUpload[] = [];
  /** By picture id, while pixels are on their way. `owner` is null when its sequence let go of it meanwhile. */
  readonly #uploading = new Map<number, { owner: PictureState | null; tileSlots: readonly number[] }>();
  /** Named in the next plan. */
  #toRelease: { pictureId: number; tileSlots: readonly number[] }[] = [];
  #numReleasing = 0;

  constructor(numTileSlots: number, tokensPerTile: number) {
    this.numTileSlots = numTileSlots;
    this.#tokensPerTile = tokensPerTile;
    for (let slot = numTileSlots - 1; slot >= 0; slot -= 1) this.#freeSlots.push(slot);
  }

  get numFreeSlots(): number {
    return this.#freeSlots.length;
  }

  get hasReleases(): boolean {
    return this.#toRelease.length > 0;
  }

  /** Slots that come back with plans in flight or pixels under way, without anybody's further doing. */
  get numSlotsReturning(): number {
    let count = this.#numReleasing;
    for (const upload of this.#uploading.values())
      if (upload.owner === null) count += upload.tileSlots.length;
    for (const release of this.#toRelease) count += release.tileSlots.length;
    return count;
  }

  /** Pixels of its are on their way. */
  isUploading(sequence: Sequence): boolean {
    return sequence.pictures.some((picture) => picture.residence === 'uploading');
  }

  /** All pictures that positions from `start` on need are resident. */
  isReady(sequence: Sequence, start: number): boolean {
    return sequence.pictures.every(
      (picture) => picture.residence === 'resident' || this.#endOf(picture) <= start,
    );
  }

  /** Gives all pictures that positions from `start` on need their slots, or none. True when all have them. */
  assign(sequence: Sequence, start: number): boolean {
    const unassigned = sequence.pictures.filter(
      (picture) => picture.residence === 'unassigned' && this.#endOf(picture) > start,
    );
    const numTiles = unassigned.reduce((sum, picture) => sum + picture.numTiles, 0);
    if (numTiles > this.#freeSlots.length) return false;
    for (const picture of unassigned) {
      picture.pictureId = this.#nextPictureId;
      this.#nextPictureId += 1;
      picture.residence = 'uploading';
      picture.tileSlots = this.#freeSlots.splice(this.#freeSlots.length - picture.numTiles, picture.numTiles);
      picture.numEncodedTiles = 0;
      this.#uploading.set(picture.pictureId, { owner: picture, tileSlots: picture.tileSlots });
      this.#uploads.push({
        pictureId: picture.pictureId,
        sequenceId: sequence.sequenceId,
        pictureIndex: sequence.pictures.indexOf(picture),
        tileSlots: picture.tileSlots,
      });
    }
    return true;
  }

  takeUploads(): PictureUpload[] {
    const uploads = this.#uploads;
    this.#uploads = [];
    return uploads;
  }

  uploaded(pictureId: number): void {
    const upload = this.#uploading.get(pictureId);
    assert(upload !== undefined, `picture ${pictureId} was not being uploaded`);
    this.#uploading.delete(pictureId);
    if (upload.owner === null) this.#toRelease.push({ pictureId, tileSlots: upload.tileSlots });
    else upload.owner.residence = 'resident';
  }

  /** A fetched upload whose pixels never reach a rank: no rank needs to be told. Its sequence has let go of it. */
  dropped(pictureId: number): void {
    const upload = this.#uploading.get(pictureId);
    assert(upload !== undefined && upload.owner === null, `picture ${pictureId} has no upload to drop`);
    this.#uploading.delete(pictureId);
    this.#freeSlots.push(...upload.tileSlots);
  }

  /** Lets go of a picture: at once for the sequence, on the ranks with the next plan. */
  release(picture: PictureState): void {
    if (picture.residence === 'resident') {
      this.#toRelease.push({ pictureId: picture.pictureId, tileSlots: picture.tileSlots });
    } else if (picture.residence === 'uploading') {
      this.#dropUpload(picture);
    }
    picture.residence = 'unassigned';
    picture.pictureId = -1;
    picture.tileSlots = [];
    picture.numEncodedTiles = 0;
  }

  /** Pixels that nobody has fetched yet need not travel; those under way are released on arrival. */
  #dropUpload(picture: PictureState): void {
    const index = this.#uploads.findIndex((upload) => upload.pictureId === picture.pictureId);
    if (index < 0) {
      this.#uploading.get(picture.pictureId)!.owner = null;
      return;
    }
    this.#uploads.splice(index, 1);
    this.#uploading.delete(picture.pictureId);
    this.#freeSlots.push(...picture.tileSlots);
  }

  /** Takes the pictures that the plan being made releases; hand the slots to `released` when it has completed. */
  takeReleases(): { pictureIds: number[]; tileSlots: number[] } {
    const releases = this.#toRelease;
    this.#toRelease = [];
    const tileSlots = releases.flatMap((release) => [...release.tileSlots]);
    this.#numReleasing += tileSlots.length;
    return { pictureIds: releases.map((release) => release.pictureId), tileSlots };
  }

  released(tileSlots: readonly number[]): void {
    this.#numReleasing -= tileSlots.length;
    this.#freeSlots.push(...tileSlots);
  }

  /**
   * Rows of the sequence that can run from `start` on, at most maxRows, when at most maxTiles tiles may be encoded for
   * them: a row of a picture needs its tile encoded in this step or an earlier one.
   */
  limitRows(sequence: Sequence, start: number, maxRows: number, maxTiles: number): number {
    let end = start + maxRows;
    let tilesLeft = maxTiles;
    for (const picture of sequence.pictures) {
      if (this.#endOf(picture) <= start) continue;
      if (picture.firstPosition >= end) break;
      const firstTile = this.#firstTile(picture, start);
      const needed = this.#tilesUpTo(picture, end) - firstTile;
      if (needed > tilesLeft) {
        end = picture.firstPosition + (firstTile + tilesLeft) * this.#tokensPerTile;
        break;
      }
      tilesLeft -= Math.max(needed, 0);
    }
    return Math.max(end - start, 0);
  }

  /** Encode items for the rows that are not computed yet, up to `end`; marks their tiles as encoded. */
  encodeUpTo(sequence: Sequence, end: number): EncodeItem[] {
    const items: EncodeItem[] = [];
    for (const picture of sequence.pictures) {
      if (picture.firstPosition >= end) break;
      if (picture.residence !== 'resident') continue;
      const tileEnd = this.#tilesUpTo(picture, end);
      const tileStart = this.#firstTile(picture, sequence.numComputedTokens);
      if (tileEnd <= tileStart) continue;
      items.push({ pictureId: picture.pictureId, tileStart, tileEnd });
      picture.numEncodedTiles = tileEnd;
    }
    return items;
  }

  /** Releases the pictures whose rows are all in plans already. */
  releaseComputed(sequence: Sequence): void {
    for (const picture of sequence.pictures) {
      if (picture.residence !== 'resident') continue;
      if (this.#endOf(picture) <= sequence.numComputedTokens) this.release(picture);
    }
  }

  #endOf(picture: PictureState): number {
    return picture.firstPosition + picture.numTiles * this.#tokensPerTile;
  }

  /**
   * That is to be encoded next, where rows from `start` on are computed: those before may be in the cache of keys and
   * values.
   */
  #firstTile(picture: PictureState, start: number): number {
    return Math.max(
      picture.numEncodedTiles,
      Math.floor((start - picture.firstPosition) / this.#tokensPerTile),
    );
  }

  #tilesUpTo(picture: PictureState, end: number): number {
    return Math.min(Math.ceil((end - picture.firstPosition) / this.#tokensPerTile), picture.numTiles);
  }

  /** Every slot is free, with a sequence, under way without an owner, or being released: exactly one of them. */
  checkInvariants(sequences: Iterable<Sequence>): void {
    const seen = new Set<number>(this.#freeSlots);
    assert(seen.size === this.#freeSlots.length, 'a tile slot is free twice');
    let numHeld = 0;
    for (const sequence of sequences) {
      for (const picture of sequence.pictures) {
        assert(
          picture.tileSlots.length === (picture.residence === 'unassigned' ? 0 : picture.numTiles),
          'tile slots of a picture',
        );
        for (const slot of picture.tileSlots) {
          assert(!seen.has(slot), `tile slot ${slot} is held twice`);
          seen.add(slot);
          numHeld += 1;
        }
      }
    }
    const total = this.#freeSlots.length + numHeld + this.numSlotsReturning;
    assert(total === this.numTileSlots, `${total} of ${this.numTileSlots} tile slots are accounted for`);
  }
}
