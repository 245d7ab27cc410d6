// Encoded files that were decoded before: what their pixels are called and how many bytes they have, so that a picture
// that comes again is not decoded unless its pixels have to travel again. Known by SHA-256 of the encoded bytes.
import { createHash, webcrypto } from 'node:crypto';

export interface KnownPicture {
  /** Of its pixels and their shape. */
  readonly contentHash: string;
  /** Of all its tiles. */
  readonly numBytes: number;
}

export interface EncodedFile {
  /** SHA-256, base64. */
  readonly hash: string;
  readonly encodedBytes: number;
}

/** Below, a hash takes less than the way to a thread and back. */
const INLINE_HASH_BYTES = 64 * 1024;

/** The least recently used is forgotten first. `limit`: how many are remembered. */
export class KnownPictures {
  readonly #limit: number;
  readonly #byHash = new Map<string, KnownPicture & { readonly encodedBytes: number }>();
  /** How many are known of each length: a file of another length is new, and need not wait for its hash. */
  readonly #lengths = new Map<number, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#byHash.size;
  }

  /** Null: not decoded before, or forgotten. */
  async find(encoded: Uint8Array): Promise<KnownPicture | null> {
    if (!this.#lengths.has(encoded.byteLength)) return null;
    const hash = await hashOf(encoded);
    const known = this.#byHash.get(hash);
    if (known === undefined) return null;
    this.#byHash.delete(hash);
    this.#byHash.set(hash, known);
    return known;
  }

  /** To be called once it is decoded without an error: what is broken is not known. */
  remember({ hash, encodedBytes }: EncodedFile, { contentHash, numBytes }: KnownPicture): void {
    if (this.#byHash.has(hash)) return;
    this.#byHash.set(hash, { contentHash, numBytes, encodedBytes });
    this.#lengths.set(encodedBytes, (this.#lengths.get(encodedBytes) ?? 0) + 1);
    if (this.#byHash.size > this.#limit) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [hash, { encodedBytes }] = this.#byHash.entries().next().value!;
    this.#byHash.delete(hash);
    const left = this.#lengths.get(encodedBytes)! - 1;
    if (left > 0) this.#lengths.set(encodedBytes, left);
    else this.#lengths.delete(encodedBytes);
  }
}

/** Long ones on a thread, for a file of megabytes takes milliseconds. */
async function hashOf(encoded: Uint8Array): Promise<string> {
  if (encoded.byteLength <= INLINE_HASH_BYTES) return createHash('sha256').update(encoded).digest('base64');
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', encoded)).toString('base64');
}
