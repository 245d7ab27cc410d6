// Owns the slots of the vision output cache, one a tile, and the life of pictures on the ranks. Equal pictures are
// there once, whoever holds them; what nobody holds is kept until its slots are needed, least recently used first. A
// slot goes back only when the step that released its picture has completed: until then a rank may still read it.
import { assert } from '../../common/assert.js';
import type { PictureState, Sequence } from './sequence.js';
import type { PictureUpload } from './step-plan.js';
import { TileRows } from './tile-rows.js';

/** A picture on the ranks, or on its way to them. */
export interface RankPicture {
  readonly pictureId: number;
  readonly contentHash: string | undefined;
  readonly tileSlots: readonly number[];
  residence: 'uploading' | 'resident';
  /** Of each tile: it went through the vision tower, or will in a plan that was made. */
  readonly isEncoded: boolean[];
  numHolders: number;
}

export interface PictureManagerConfig {
  readonly numTileSlots: number;
  readonly tokensPerTile: number;
  /** Equal pictures share their slots, and outputs that nobody holds are kept. */
  readonly prefixCaching: boolean;
}

/**
 * Of all slots, those that are kept free where pictures are kept that nobody holds: the next picture need not wait for
 * a step that releases others.
 */
const FREE_SHARE = 1 / 9;

/** What became of an attempt to give a sequence its pictures' slots. */
export type Assignment = 'assigned' | 'no slots' | 'another uploads it';

export class PictureManager {
  readonly #config: PictureManagerConfig;
  readonly #rows: TileRows;
  readonly #freeSlots: number[] = [];
  #nextPictureId = 1;
  #uploads: PictureUpload[] = [];
  /** By picture id, while pixels are on their way; nobody holds it whose sequence has let go of it meanwhile. */
  readonly #uploading = new Map<number, RankPicture>();
  /** Held or kept, by what they show. */
  readonly #byContent = new Map<string, RankPicture>();
  /** Encoded and held by nobody; the first was let go of first. */
  readonly #kept = new Set<RankPicture>();
  /** Named in the next plan. */
  #toRelease: RankPicture[] = [];
  #numReleasing = 0;
  #numSent = 0;

  constructor(config: PictureManagerConfig) {
    this.#config = config;
    this.#rows = new TileRows(config.tokensPerTile);
    for (let slot = config.numTileSlots - 1; slot >= 0; slot -= 1) this.#freeSlots.push(slot);
  }

  get hasReleases(): boolean {
    return this.#toRelease.length > 0;
  }

  /** Pictures whose pixels were sent. */
  get numSent(): number {
    return this.#numSent;
  }

  /** Pixels of its are on their way. */
  isUploading(sequence: Sequence): boolean {
    return sequence.pictures.some(({ onRanks }) => onRanks?.residence === 'uploading');
  }

  /** All pictures that positions from `start` on need are resident. */
  isReady(sequence: Sequence, start: number): boolean {
    return sequence.pictures.every(
      (picture) => picture.onRanks?.residence === 'resident' || this.#rows.endOf(picture) <= start,
    );
  }

  /** Gives all pictures of the sequence that positions from `start` on need their slots, or none. */
  assign(sequence: Sequence, start: number): Assignment {
    const wanted = sequence.pictures.filter(
      (picture) => picture.onRanks === null && this.#rows.endOf(picture) > start,
    );
    const present = wanted.map((picture) => this.#find(picture));
    if (present.some((found) => found?.residence === 'uploading')) return 'another uploads it';
    // Before room is made: what it shares must not be let go of for what it lacks.
    wanted.forEach((picture, index) => {
      if (present[index] !== undefined) this.#hold(picture, present[index]);
    });
    const missing = wanted.filter(({ onRanks }) => onRanks === null);
    if (!this.#makeRoom(this.#numTilesOf(missing))) {
      for (const picture of wanted) this.release(picture);
      return 'no slots';
    }
    for (const picture of missing) this.#send(picture, sequence);
    return 'assigned';
  }

  takeUploads(): PictureUpload[] {
    const uploads = this.#uploads;
    this.#uploads = [];
    this.#numSent += uploads.length;
    return uploads;
  }

  uploaded(pictureId: number): void {
    const picture = this.#uploading.get(pictureId);
    assert(picture !== undefined, `picture ${pictureId} was not being uploaded`);
    this.#uploading.delete(pictureId);
    picture.residence = 'resident';
    if (picture.numHolders === 0) this.#discard(picture);
  }

  /** A fetched upload whose pixels never reach a rank: no rank needs to be told. Its sequence has let go of it. */
  dropped(pictureId: number): void {
    const picture = this.#uploading.get(pictureId);
    assert(picture?.numHolders === 0, `picture ${pictureId} has no upload to drop`);
    this.#uploading.delete(pictureId);
    this.#freeSlots.push(...picture.tileSlots);
  }

  /** Lets go of a picture: at once for the sequence, on the ranks with a later plan. */
  release(picture: PictureState): void {
    const { onRanks } = picture;
    if (onRanks === null) return;
    picture.onRanks = null;
    onRanks.numHolders -= 1;
    if (onRanks.numHolders > 0) return;
    if (onRanks.residence === 'uploading') this.#dropUpload(onRanks);
    else if (this.#isShared(onRanks) && onRanks.isEncoded.every(Boolean)) this.#kept.add(onRanks);
    else this.#discard(onRanks);
  }

  /** Takes the pictures that the plan being made releases; hand the slots to `released` when it has completed. */
  takeReleases(): { pictureIds: number[]; tileSlots: number[] } {
    this.#discardKept(Math.floor(this.#config.numTileSlots * FREE_SHARE));
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

  /** Lets go of the pictures whose rows are all in plans already. */
  releaseComputed(sequence: Sequence): void {
    for (const picture of sequence.pictures) {
      if (picture.onRanks?.residence !== 'resident') continue;
      if (this.#rows.endOf(picture) <= sequence.numComputedTokens) this.release(picture);
    }
  }

  /** Every slot is free, a picture's that somebody holds or that is kept, under way for nobody, or being released. */
  checkInvariants(sequences: Iterable<Sequence>): void {
    const holders = new Map<RankPicture, number>();
    for (const { pictures } of sequences) {
      for (const { onRanks, numTiles } of pictures) {
        if (onRanks === null) continue;
        assert(onRanks.tileSlots.length === numTiles, 'tile slots of a picture');
        holders.set(onRanks, (holders.get(onRanks) ?? 0) + 1);
      }
    }
    for (const [picture, count] of holders) {
      assert(picture.numHolders === count, `picture ${picture.pictureId} is held as often as is counted`);
      assert(!this.#kept.has(picture), `picture ${picture.pictureId} is held or kept`);
    }
    const orphans = [...this.#uploading.values()].filter(({ numHolders }) => numHolders === 0);
    const all = [...holders.keys(), ...this.#kept, ...orphans, ...this.#toRelease];
    const slots = [...this.#freeSlots, ...all.flatMap(({ tileSlots }) => [...tileSlots])];
    assert(new Set(slots).size === slots.length, 'a tile slot is in one place');
    const total = slots.length + this.#numReleasing;
    assert(
      total === this.#config.numTileSlots,
      `${total} of ${this.#config.numTileSlots} tile slots are accounted for`,
    );
  }

  #isShared({ contentHash }: RankPicture): boolean {
    return this.#config.prefixCaching && contentHash !== undefined;
  }

  #find({ contentHash, numTiles }: PictureState): RankPicture | undefined {
    if (!this.#config.prefixCaching || contentHash === undefined) return undefined;
    const found = this.#byContent.get(contentHash);
    return found?.tileSlots.length === numTiles ? found : undefined;
  }

  #hold(picture: PictureState, onRanks: RankPicture): void {
    picture.onRanks = onRanks;
    onRanks.numHolders += 1;
    this.#kept.delete(onRanks);
  }

  /** False: there is not room yet; kept pictures are released for it. */
  #makeRoom(numTiles: number): boolean {
    if (numTiles <= this.#freeSlots.length) return true;
    this.#discardKept(numTiles);
    return false;
  }

  /** Kept pictures, until so many slots are free or come free with the next plan. */
  #discardKept(numTiles: number): void {
    let numComing = this.#freeSlots.length + this.#numReleasing + this.#numTilesToRelease();
    for (const picture of this.#kept) {
      if (numComing >= numTiles) break;
      this.#discard(picture);
      numComing += picture.tileSlots.length;
    }
  }

  #send(picture: PictureState, sequence: Sequence): void {
    // The same picture twice in one prompt travels once.
    const twin = this.#find(picture);
    if (twin !== undefined) {
      this.#hold(picture, twin);
      return;
    }
    const { numTiles, contentHash } = picture;
    const onRanks: RankPicture = {
      pictureId: this.#nextPictureId,
      contentHash,
      tileSlots: this.#freeSlots.splice(this.#freeSlots.length - numTiles, numTiles),
      residence: 'uploading',
      isEncoded: new Array<boolean>(numTiles).fill(false),
      numHolders: 0,
    };
    this.#nextPictureId += 1;
    this.#uploading.set(onRanks.pictureId, onRanks);
    if (this.#isShared(onRanks)) this.#byContent.set(contentHash!, onRanks);
    this.#hold(picture, onRanks);
    this.#uploads.push({
      pictureId: onRanks.pictureId,
      sequenceId: sequence.sequenceId,
      pictureIndex: sequence.pictures.indexOf(picture),
      tileSlots: onRanks.tileSlots,
    });
  }

  /** Pixels that nobody has fetched yet need not travel; those under way are released on arrival. */
  #dropUpload(picture: RankPicture): void {
    this.#forget(picture);
    const index = this.#uploads.findIndex(({ pictureId }) => pictureId === picture.pictureId);
    if (index < 0) return;
    this.#uploads.splice(index, 1);
    this.#uploading.delete(picture.pictureId);
    this.#freeSlots.push(...picture.tileSlots);
  }

  #discard(picture: RankPicture): void {
    this.#forget(picture);
    this.#kept.delete(picture);
    this.#toRelease.push(picture);
  }

  #forget(picture: RankPicture): void {
    const { contentHash } = picture;
    if (contentHash !== undefined && this.#byContent.get(contentHash) === picture)
      this.#byContent.delete(contentHash);
  }

  #numTilesOf(pictures: readonly PictureState[]): number {
    return pictures.reduce((sum, { numTiles }) => sum + numTiles, 0);
  }

  #numTilesToRelease(): number {
    return this.#toRelease.reduce((sum, { tileSlots }) => sum + tileSlots.length, 0);
  }
}
