// Pixels in files without a name, in memory, for ranks of this host to read: each rank takes one copy by itself, and
// none passes through the event loop. A file is there while somebody sends it, once for all ranks, and gone with the
// process.
import { closeSync, constants, fstatSync, openSync, write as writeBytes } from 'node:fs';
import { MAX_PIXEL_FILE_BYTES } from '../../common/limits.js';
import type { SharedFile } from '../../proto/ts/skein/worker/v1/SharedFile.js';

const FOLDER = '/dev/shm';
/** Linux's O_TMPFILE, which Node does not name: a file that never has one. */
const WITHOUT_NAME = 0o20000000 | constants.O_DIRECTORY;

interface OpenFile {
  readonly descriptor: number;
  readonly shared: SharedFile;
}

interface Entry {
  /** Null where there is no room, or no such folder. */
  readonly file: Promise<OpenFile | null>;
  numUsers: number;
}

export class PixelFiles {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #entries = new Map<Uint8Array, Entry>();
  #numBytes = 0;

  constructor({ folder = FOLDER, maxBytes = MAX_PIXEL_FILE_BYTES } = {}) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** Of all files that are there. */
  get numBytes(): number {
    return this.#numBytes;
  }

  /** `send` gets a file that is there until its promise settles; null: the pixels must travel in another way. */
  async use<T>(pixels: Uint8Array, send: (file: SharedFile | null) => Promise<T>): Promise<T> {
    const entry = this.#enter(pixels);
    if (entry === null) return send(null);
    try {
      return await send((await entry.file)?.shared ?? null);
    } finally {
      await this.#leave(pixels, entry);
    }
  }

  #enter(pixels: Uint8Array): Entry | null {
    const present = this.#entries.get(pixels);
    if (present !== undefined) {
      present.numUsers += 1;
      return present;
    }
    if (this.#numBytes + pixels.byteLength > this.#maxBytes) return null;
    this.#numBytes += pixels.byteLength;
    const entry = { file: write(this.#folder, pixels), numUsers: 1 };
    this.#entries.set(pixels, entry);
    return entry;
  }

  async #leave(pixels: Uint8Array, entry: Entry): Promise<void> {
    entry.numUsers -= 1;
    if (entry.numUsers > 0) return;
    this.#entries.delete(pixels);
    const file = await entry.file;
    if (file !== null) closeSync(file.descriptor);
    this.#numBytes -= pixels.byteLength;
  }
}

/** Only the copy of the bytes leaves the thread: the other calls take microseconds. */
async function write(folder: string, pixels: Uint8Array): Promise<OpenFile | null> {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(folder, WITHOUT_NAME | constants.O_RDWR, 0o600);
    for (let offset = 0; offset < pixels.byteLength;) offset += await writeAt(descriptor, pixels, offset);
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return {
      descriptor,
      shared: { processId: process.pid, descriptor, device: dev.toString(), inode: ino.toString() },
    };
  } catch {
    if (descriptor !== null) closeSync(descriptor);
    return null;
  }
}

function writeAt(descriptor: number, bytes: Uint8Array, offset: number): Promise<number> {
  return new Promise((resolve, reject) =>
    writeBytes(descriptor, bytes, offset, bytes.byteLength - offset, offset, (error, numBytes) =>
      error === null ? resolve(numBytes) : reject(error),
    ),
  );
}
