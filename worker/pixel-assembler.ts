// Puts the chunks of one picture together, or reads them from a file of the sender's. The size is known from the first
// message; more or fewer bytes are refused, and nothing is stored beyond it.
import { AppError } from '../common/errors.js';
import type { NativeLoadPlan } from '../common/native/native.js';
import { unpackUint32 } from '../common/packed.js';
import type { PutPixelsRequest__Output } from '../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { SharedFile__Output } from '../proto/ts/skein/worker/v1/SharedFile.js';
import { parseFence, type Fence } from './epoch-guard.js';
import type { PixelBuffers } from './pixel-buffers.js';
import { readSharedFile } from './shared-file.js';

const CHANNELS = 3;

export interface AssembledPicture {
  readonly fence: Fence;
  readonly pictureId: number;
  readonly tileSlots: Uint32Array;
  /** [tiles, side, side, 3] */
  readonly pixels: Uint8Array;
}

export class PixelAssembler {
  readonly #plan: NativeLoadPlan | null;
  readonly #buffers: PixelBuffers;
  #picture: AssembledPicture | null = null;
  #file: SharedFile__Output | null = null;
  #numBytes = 0;

  constructor(plan: NativeLoadPlan | null, buffers: PixelBuffers) {
    this.#plan = plan;
    this.#buffers = buffers;
  }

  add(request: PutPixelsRequest__Output): void {
    const isFirst = this.#picture === null;
    const picture = (this.#picture ??= this.#begin(request));
    if (this.#file !== null || (request.sharedFile !== null && !(isFirst && request.data.byteLength === 0)))
      throw invalid('shared_file comes in the only message, without data');
    this.#file = request.sharedFile;
    if (this.#numBytes + request.data.byteLength > picture.pixels.byteLength) {
      throw invalid(
        `data has more than the ${picture.pixels.byteLength} bytes of ${picture.tileSlots.length} tiles`,
      );
    }
    picture.pixels.set(request.data, this.#numBytes);
    this.#numBytes += request.data.byteLength;
  }

  /** Null where the file cannot be read from here. */
  async finish(): Promise<AssembledPicture | null> {
    if (this.#picture === null) throw invalid('the stream has no message');
    if (this.#file !== null)
      return (await readSharedFile(this.#file, this.#picture.pixels)) ? this.#picture : null;
    if (this.#numBytes !== this.#picture.pixels.byteLength) {
      throw invalid(`data has ${this.#numBytes} bytes; the tiles have ${this.#picture.pixels.byteLength}`);
    }
    return this.#picture;
  }

  /** After `finish`, once: the memory of its pixels is the next picture's. */
  release(): void {
    if (this.#picture !== null) this.#buffers.giveBack(this.#picture.pixels);
    this.#picture = null;
  }

  #begin(request: PutPixelsRequest__Output): AssembledPicture {
    const plan = this.#plan;
    if (plan === null || plan.vision === null)
      throw new AppError('NOT_READY', 'no model with a vision tower is loaded');
    const tileSlots = unpackUint32(request.tileSlots, 'tile_slots');
    if (
      request.numTiles < 1 ||
      request.numTiles > plan.numTileSlots ||
      tileSlots.length !== request.numTiles
    ) {
      throw invalid(
        `num_tiles is ${request.numTiles} with ${tileSlots.length} slots; expected 1 to ${plan.numTileSlots}, each with a slot`,
      );
    }
    const tileBytes = plan.vision.imageSize * plan.vision.imageSize * CHANNELS;
    return {
      fence: parseFence(request.fence),
      pictureId: request.pictureId,
      tileSlots,
      // Used once every byte has come, whatever was in it before.
      pixels: this.#buffers.take(request.numTiles * tileBytes),
    };
  }
}

function invalid(message: string): AppError {
  return new AppError('INVALID_REQUEST', message);
}
