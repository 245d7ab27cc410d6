// Encoded picture to RGB bytes, equal to Pillow's open().convert('RGB'): alpha and palette transparency dropped (hidden
// colours show), no colour management, as stored (orientation.ts turns it), first frame only. Reads no limits but those
// of sniff-picture.ts and the time limit.
import sharp, { type Sharp } from 'sharp';
import { AppError } from '../../common/errors.js';
import { MAX_PICTURE_PIXELS, PICTURE_TIMEOUT_MS } from '../../common/limits.js';
import { decodeGif, GifError } from './gif.js';
import type { RgbImage } from './picture.js';
import { checkPictureSize, sniffPicture, type PictureHeader } from './sniff-picture.js';

interface Samples {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** How libvips is asked for the samples as they lie in the file. */
function openPicture(encoded: Uint8Array): Sharp {
  return sharp(encoded, {
    failOn: 'error',
    limitInputPixels: MAX_PICTURE_PIXELS,
    ignoreIcc: true,
    pages: 1,
  }).timeout({ seconds: Math.ceil(PICTURE_TIMEOUT_MS / 1000) });
}

async function readSamples(picture: Sharp): Promise<Samples> {
  const { data, info } = await picture.toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: info.channels, data };
}

/** [pixels, channels] to [pixels, 3]: grey is repeated, anything after the third channel dropped. */
function toRgb(samples: Samples): RgbImage {
  const { width, height, channels, data } = samples;
  if (channels === 3) return { width, height, data };
  const rgb = new Uint8Array(width * height * 3);
  const second = channels >= 3 ? 1 : 0;
  const third = channels >= 3 ? 2 : 0;
  for (
    let pixel = 0, source = 0, target = 0;
    pixel < width * height;
    pixel++, source += channels, target += 3
  ) {
    rgb[target] = data[source]!;
    rgb[target + 1] = data[source + second]!;
    rgb[target + 2] = data[source + third]!;
  }
  return { width, height, data: rgb };
}

/** Pillow's arithmetic without a profile: each ink darkens what black leaves, with its rounded division by 255. */
function cmykToRgb(samples: Samples): RgbImage {
  const { width, height, data } = samples;
  const rgb = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const left = 255 - data[pixel * 4 + 3]!;
    for (let channel = 0; channel < 3; channel++) {
      const product = data[pixel * 4 + channel]! * left + 128;
      rgb[pixel * 3 + channel] = Math.max(left - (((product >> 8) + product) >> 8), 0);
    }
  }
  return { width, height, data: rgb };
}

/** 16-bit grey PNG: Pillow (mode I;16) clips instead of scaling, so anything above 255 is white. */
async function readGrey16(encoded: Uint8Array): Promise<RgbImage> {
  const picture = openPicture(encoded).removeAlpha().toColourspace('grey16').raw({ depth: 'ushort' });
  const { width, height, channels, data } = await readSamples(picture);
  const values = new Uint16Array(data.buffer, data.byteOffset, data.length / 2);
  const grey = new Uint8Array(width * height);
  for (let pixel = 0; pixel < grey.length; pixel++) grey[pixel] = Math.min(values[pixel * channels]!, 255);
  return toRgb({ width, height, channels: 1, data: grey });
}

async function decodeByFormat(encoded: Uint8Array, header: PictureHeader, label: string): Promise<RgbImage> {
  if (header.format === 'gif') {
    return decodeGif(encoded, ({ width, height }) => checkPictureSize(width, height, label));
  }
  if (header.format === 'jpeg' && header.components === 4) {
    return cmykToRgb(
      await readSamples(openPicture(encoded).pipelineColourspace('cmyk').toColourspace('cmyk').raw()),
    );
  }
  if (header.format === 'png' && header.bitsPerSample === 16 && header.components === 1)
    return readGrey16(encoded);
  return toRgb(await readSamples(openPicture(encoded).removeAlpha().toColourspace('srgb').raw()));
}

/** Errors are INVALID_PICTURE; a decoder's own message stays in `cause`, for it may quote memory or paths. */
export async function decodePicture(
  encoded: Uint8Array,
  label: string,
  header = sniffPicture(encoded, label),
): Promise<RgbImage> {
  let image: RgbImage;
  try {
    image = await decodeByFormat(encoded, header, label);
  } catch (error) {
    if (error instanceof AppError) throw error;
    const problem =
      error instanceof GifError ? error.message : 'cannot be decoded: the data is broken or truncated';
    throw new AppError('INVALID_PICTURE', `${label} (${header.format.toUpperCase()}) ${problem}`, {
      details: { param: label },
      cause: error,
    });
  }
  if (header.format !== 'gif' && (image.width !== header.width || image.height !== header.height)) {
    throw new AppError('INVALID_PICTURE', `${label} has another size than its header says`, {
      details: { param: label },
    });
  }
  return image;
}
