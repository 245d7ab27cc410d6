// Pictures that cost what photographs cost: smooth shades with the noise of a sensor, drawn from a seed, so that no
// file of megabytes need be kept. Each salt is another picture of the same scene.
import sharp from 'sharp';

export interface PhotographSize {
  readonly width: number;
  readonly height: number;
}

/** About 12 megapixels, 4:3, as telephones take them. */
export const TWELVE_MEGAPIXELS: PhotographSize = { width: 4000, height: 3000 };

const MAX_SALT = 512;
const JPEG_QUALITY = 90;
const NOISE_LEVELS = 32;

/** One scene, a little higher than the pictures: salts are where in it they begin. */
export class PhotographMaker {
  readonly size: PhotographSize;
  readonly #scene: Uint8Array;

  constructor(size: PhotographSize) {
    this.size = size;
    this.#scene = drawScene(size.width, size.height + MAX_SALT);
  }

  /** [height, width, 3]. */
  pixels(salt: number): Uint8Array {
    const rowBytes = this.size.width * 3;
    const start = (salt % MAX_SALT) * rowBytes;
    return this.#scene.subarray(start, start + this.size.height * rowBytes);
  }

  /** `orientation`: EXIF's, which a telephone held upright writes as 6. */
  async jpeg(salt: number, orientation = 1): Promise<Buffer> {
    const image = sharp(this.pixels(salt), { raw: { ...this.size, channels: 3 } });
    const turned = orientation === 1 ? image : image.withMetadata({ orientation });
    return turned.jpeg({ quality: JPEG_QUALITY }).toBuffer();
  }

  async png(salt: number): Promise<Buffer> {
    return sharp(this.pixels(salt), { raw: { ...this.size, channels: 3 } })
      .png()
      .toBuffer();
  }
}

function drawScene(width: number, height: number): Uint8Array {
  const scene = new Uint8Array(width * height * 3);
  let state = 1;
  let target = 0;
  for (let y = 0; y < height; y++) {
    const slow = Math.sin(y / 311);
    for (let x = 0; x < width; x++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      const noise = (state >>> 27) - NOISE_LEVELS / 2;
      const shade = 110 + 70 * Math.sin(x / 97 + y / 211);
      scene[target++] = clamp(shade + 40 * slow + noise);
      scene[target++] = clamp(shade * 0.8 + 60 * Math.cos(x / 231 - slow) + noise);
      scene[target++] = clamp(255 * (x / width / 2 + y / height / 3) + noise);
    }
  }
  return scene;
}

function clamp(value: number): number {
  return Math.max(0, Math.min(255, value));
}
