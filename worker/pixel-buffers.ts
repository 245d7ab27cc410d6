// Memory that pixels are put together in, used again once the engine has copied them: fresh memory costs a page fault
// every 4 KB, and megabytes for each picture keep the garbage collector busy.
import { MAX_SPARE_PIXEL_BYTES } from '../common/limits.js';

export class PixelBuffers {
  readonly #maxBytes: number;
  /** Nobody's, the shortest first. */
  readonly #spare: ArrayBuffer[] = [];
  #numBytes = 0;

  constructor(maxBytes = MAX_SPARE_PIXEL_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Of all that are kept. */
  get numBytes(): number {
    return this.#numBytes;
  }

  /** With whatever was in it before. */
  take(numBytes: number): Uint8Array {
    const index = this.#spare.findIndex(({ byteLength }) => byteLength >= numBytes);
    if (index < 0) return Buffer.allocUnsafeSlow(numBytes);
    const [found] = this.#spare.splice(index, 1);
    this.#numBytes -= found!.byteLength;
    return new Uint8Array(found!, 0, numBytes);
  }

  /** To be called once, when nobody reads or writes it any more; what is never given back is collected. */
  giveBack({ buffer }: Uint8Array): void {
    if (this.#numBytes + buffer.byteLength > this.#maxBytes) return;
    this.#numBytes += buffer.byteLength;
    this.#spare.push(buffer as ArrayBuffer);
    this.#spare.sort((one, other) => one.byteLength - other.byteLength);
  }
}
