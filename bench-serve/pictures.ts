// Pictures from seeds: soft noise, as hard to tile as a photograph and about as large as one.
import { AppError } from '../common/errors.js';
import { MAX_BENCH_PICTURE_BYTES } from '../common/limits.js';
import { Random } from './random.js';
import type { Picture } from './target.js';

/** One random colour for a square of so many pixels, blended into the next. */
const GRAIN = 14;
const MEDIA_TYPE = 'image/jpeg';

export class PictureMaker {
  readonly #seed: number;
  readonly #width: number;
  readonly #height: number;
  readonly #made = new Map<string, Picture>();
  #numBytes = 0;

  constructor({ seed, width, height }: { seed: number; width: number; height: number }) {
    this.#seed = seed;
    this.#width = width;
    this.#height = height;
  }

  /** Equal names give the same picture. INVALID_REQUEST when all together are more than is held. */
  async make(name: string): Promise<Picture> {
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const picture = { bytes: await this.#draw(name), mediaType: MEDIA_TYPE };
    this.#numBytes += picture.bytes.byteLength;
    if (this.#numBytes > MAX_BENCH_PICTURE_BYTES) {
      throw new AppError(
        'INVALID_REQUEST',
        `--pictures: the pictures of one rate come to more than ${MAX_BENCH_PICTURE_BYTES} bytes; give --picture-pool`,
        { details: { param: 'pictures', limit: MAX_BENCH_PICTURE_BYTES } },
      );
    }
    this.#made.set(name, picture);
    return picture;
  }

  async #draw(name: string): Promise<Buffer> {
    // Here and not above: only who draws pictures pays for loading it.
    const { default: sharp } = await import('sharp');
    const random = new Random(this.#seed, 'picture', name);
    const [width, height] = [Math.ceil(this.#width / GRAIN), Math.ceil(this.#height / GRAIN)];
    const pixels = Buffer.alloc(width * height * 3);
    for (let index = 0; index < pixels.length; index++) pixels[index] = random.uint32() >>> 24;
    return sharp(pixels, { raw: { width, height, channels: 3 } })
      .resize(this.#width, this.#height, { fit: 'fill' })
      .jpeg({ quality: 90 })
      .toBuffer();
  }
}
