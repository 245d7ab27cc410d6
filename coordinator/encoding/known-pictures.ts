// Encoded files that were decoded before, and how many bytes their pixels have, so that a picture that comes again is
// not decoded unless its pixels have to travel again. Known by SHA-256 of the encoded bytes.
import { createHash, webcrypto } from 'node:crypto';

export interface KnownPicture {
  /** SHA-256 of the encoded file, base64. */
  readonly contentHash: string;
  /** Of all its tiles. */
  readonly numBytes: number;
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
    const contentHash = await hashOf(encoded);
    const known = this.#byHash.get(contentHash);
    if (known === undefined) return null;
    this.#byHash.delete(contentHash);
    this.#byHash.set(contentHash, known);
    return known;
  }

  /** To be called once it is decoded without an error: what is broken is not known. */
  remember(picture: KnownPicture, encodedBytes: number): void {
    const { contentHash } = picture;
    if (this.#byHash.has(contentHash)) return;
    this.#byHash.set(contentHash, { ...picture, encodedBytes });
    this.#lengths.set(encodedBytes, (this.#lengths.get(encodedBytes) ?? 0) + 1);
    if (this.#byHash.size > this.#limit) this.#forgetOldest();
  }

  #forgetOldest(): void {
    const [contentHash, { encodedBytes }] = this.#byHash.entries().next().value!;
    this.#byHash.delete(contentHash);
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
