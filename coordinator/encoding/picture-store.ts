// Pixels on their way to the ranks: one copy of what equal files show, counted by who refers to it, within a budget of
// bytes. Pixels are made before a request is queued, as far as the budget goes (the others wait their turn), and are
// let go of once every rank has them; a sequence that is computed again has them made again, from the encoded bytes
// that its request keeps. An encoded file that was decoded before is not decoded again until its pixels have to travel:
// mostly the ranks still hold what the tower made of it.
import { assert } from '../../common/assert.js';
import { AppError } from '../../common/errors.js';
import type { PixelLease } from '../executor/step-loop.js';
import type { PictureInput } from '../requests/request-spec.js';
import type { ProcessedPicture } from '../vision/picture.js';
import { FairLine, NOBODY, type Asker } from './fair-line.js';
import { KnownPictures, type KnownPicture } from './known-pictures.js';

export type DecodePicture = (
  picture: PictureInput,
  signal: AbortSignal,
  asker: Asker,
) => Promise<ProcessedPicture>;

export interface PictureStoreOptions {
  readonly decode: DecodePicture;
  readonly budgetBytes: number;
  /** Encoded files to know again. 0 where ranks keep nothing: then every picture's pixels travel. */
  readonly maxKnown: number;
}

/** A sequence that holds its place on the ranks waits for it. */
const AT_ONCE: Asker = { ...NOBODY, priority: Number.NEGATIVE_INFINITY };

/** The pixels of equal files, once. */
interface Entry {
  readonly contentHash: string;
  readonly pixels: Uint8Array;
  numReferences: number;
}

interface Waiter {
  readonly numBytes: number;
  readonly grant: () => void;
}

export class PictureStore {
  readonly #options: PictureStoreOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #known: KnownPictures;
  readonly #waiting = new FairLine<Waiter>();
  /** Of entries, and reserved for pictures that are being decoded. */
  #numBytes = 0;

  constructor(options: PictureStoreOptions) {
    this.#options = options;
    this.#known = new KnownPictures(options.maxKnown);
  }

  get numBytes(): number {
    return this.#numBytes;
  }

  get numPictures(): number {
    return this.#entries.size;
  }

  /**
   * Decodes the pictures of a request that are not known once the budget has room for all of them together, so that
   * requests that wait hold nothing. `numBytes`: what the pixels of all will have. The signal takes it back.
   */
  async add(
    pictures: readonly PictureInput[],
    numBytes: number,
    signal: AbortSignal,
    asker: Asker,
  ): Promise<StoredPicture[]> {
    const known = await Promise.all(pictures.map(({ data }) => this.#known.find(data)));
    const numMissing = known.reduce((left, picture) => left - (picture?.numBytes ?? 0), numBytes);
    if (numMissing > 0) await this.#reserve(numMissing, signal, asker);
    const outcomes = await Promise.allSettled(
      pictures.map((picture, index) =>
        known[index] === null ? this.#options.decode(picture, signal, asker) : Promise.resolve(null),
      ),
    );
    const entries = outcomes.map((outcome, index) =>
      outcome.status === 'fulfilled' && outcome.value !== null
        ? this.#enter(outcome.value, pictures[index]!)
        : null,
    );
    if (numMissing > 0) this.#unreserve(numMissing);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) {
      for (const entry of entries) if (entry !== null) this.release(entry);
      throw failed.reason;
    }
    return pictures.map((picture, index) => {
      const entry = entries[index] ?? null;
      if (entry === null) return new StoredPicture(this, picture, known[index]!, null, signal);
      const { contentHash, pixels } = entry;
      const made = { contentHash, numBytes: pixels.byteLength };
      return new StoredPicture(this, picture, made, entry, signal);
    });
  }

  /**
   * For a sequence that holds its place on the ranks already: over the budget if need be, by what fits on them at most.
   */
  async decodeAgain(picture: PictureInput, signal: AbortSignal): Promise<Entry> {
    return this.#enter(await this.#options.decode(picture, signal, AT_ONCE), picture);
  }

  release(entry: Entry): void {
    entry.numReferences -= 1;
    assert(entry.numReferences >= 0, `picture ${entry.contentHash} is released too often`);
    if (entry.numReferences > 0) return;
    this.#entries.delete(entry.contentHash);
    this.#unreserve(entry.pixels.byteLength);
  }

  #enter({ contentHash, tiles }: ProcessedPicture, { data }: PictureInput): Entry {
    if (this.#options.maxKnown > 0)
      this.#known.remember({ contentHash, numBytes: tiles.byteLength }, data.byteLength);
    const present = this.#entries.get(contentHash);
    if (present !== undefined) {
      present.numReferences += 1;
      return present;
    }
    const entry = { contentHash, pixels: tiles, numReferences: 1 };
    this.#entries.set(contentHash, entry);
    this.#numBytes += tiles.byteLength;
    return entry;
  }

  /** Nobody overtakes who is next. What is larger than the whole budget has it alone. */
  #reserve(numBytes: number, signal: AbortSignal, asker: Asker): Promise<void> {
    if (signal.aborted) return Promise.reject(departed());
    if (this.#waiting.length === 0 && this.#hasRoom(numBytes)) {
      this.#numBytes += numBytes;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.remove(waiter);
        reject(departed());
        this.#grant();
      };
      const waiter = {
        numBytes,
        grant: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#waiting.add(waiter, asker, numBytes);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #unreserve(numBytes: number): void {
    this.#numBytes -= numBytes;
    this.#grant();
  }

  #grant(): void {
    for (;;) {
      const next = this.#waiting.first;
      if (next === undefined || !this.#hasRoom(next.numBytes)) return;
      this.#waiting.take();
      this.#numBytes += next.numBytes;
      next.grant();
    }
  }

  #hasRoom(numBytes: number): boolean {
    return this.#numBytes === 0 || this.#numBytes + numBytes <= this.#options.budgetBytes;
  }
}

/** A picture of one request: holds its pixels until they have been leased once, or the request is over. */
export class StoredPicture {
  readonly #store: PictureStore;
  readonly #input: PictureInput;
  readonly #signal: AbortSignal;
  readonly #numBytes: number;
  /** Of its encoded file. */
  readonly contentHash: string;
  #entry: Entry | null;

  /** `entry`: null where the picture is known, and decoded only if it must travel. */
  constructor(
    store: PictureStore,
    input: PictureInput,
    { contentHash, numBytes }: KnownPicture,
    entry: Entry | null,
    signal: AbortSignal,
  ) {
    this.#store = store;
    this.#input = input;
    this.#signal = signal;
    this.#entry = entry;
    this.#numBytes = numBytes;
    this.contentHash = contentHash;
  }

  /** Of all its tiles. */
  get numBytes(): number {
    return this.#numBytes;
  }

  async lease(): Promise<PixelLease> {
    const entry = this.#entry ?? (await this.#store.decodeAgain(this.#input, this.#signal));
    this.#entry = null;
    let isHeld = true;
    return {
      pixels: entry.pixels,
      release: () => {
        if (isHeld) this.#store.release(entry);
        isHeld = false;
      },
    };
  }

  release(): void {
    if (this.#entry !== null) this.#store.release(this.#entry);
    this.#entry = null;
  }
}

function departed(): AppError {
  return new AppError('CANCELLED', 'the request ended before its pictures were decoded');
}
