// What a picture's first bytes say: format, size, sample depth. Pure, reads headers only and decodes nothing, so that
// pictures over a limit, and formats that are not accepted, never reach a decoder.
import { AppError } from '../../common/errors.js';
import {
  MAX_JPEG_SCANS,
  MAX_PICTURE_BYTES,
  MAX_PICTURE_PIXELS,
  MAX_PICTURE_SIDE,
} from '../../common/limits.js';

export interface PictureHeader {
  readonly format: 'jpeg' | 'png' | 'webp' | 'gif';
  readonly width: number;
  readonly height: number;
  readonly bitsPerSample: number;
  /** JPEG: number of components; PNG: 1 for grey without alpha; otherwise 3. */
  readonly components: number;
}

/** Formats that are recognised only to say so: [name, offset, bytes in Latin-1]. */
const REFUSED_FORMATS: readonly (readonly [name: string, offset: number, magic: string])[] = [
  ['TIFF', 0, 'II*\0'],
  ['TIFF', 0, 'MM\0*'],
  ['TIFF', 0, 'II+\0'],
  ['BMP', 0, 'BM'],
  ['PDF', 0, '%PDF'],
  ['SVG', 0, '<svg'],
  ['XML or SVG', 0, '<?xml'],
  ['JPEG 2000', 0, '\0\0\0\x0cjP  '],
  ['JPEG 2000', 0, '\xff\x4f\xff\x51'],
  ['JPEG XL', 0, '\xff\x0a'],
  ['JPEG XL', 0, '\0\0\0\x0cJXL '],
  ['AVIF or HEIF', 4, 'ftyp'],
  ['PSD', 0, '8BPS'],
  ['FPX or another OLE file', 0, '\xd0\xcf\x11\xe0'],
  ['ICO', 0, '\0\0\x01\0'],
];

function invalid(label: string, problem: string, details: Record<string, string | number> = {}): AppError {
  return new AppError('INVALID_PICTURE', `${label} ${problem}`, { details: { param: label, ...details } });
}

function startsWith(bytes: Buffer, offset: number, magic: string): boolean {
  return (
    bytes.length >= offset + magic.length && bytes.toString('latin1', offset, offset + magic.length) === magic
  );
}

function readPngHeader(bytes: Buffer, label: string): PictureHeader {
  if (bytes.length < 33 || bytes.readUInt32BE(8) !== 13 || !startsWith(bytes, 12, 'IHDR')) {
    throw invalid(label, 'is a PNG with a broken or truncated header');
  }
  return {
    format: 'png',
    width: bytes.readUInt32BE(16),
    height: bytes.readUInt32BE(20),
    bitsPerSample: bytes[24]!,
    components: bytes[25] === 0 ? 1 : 3,
  };
}

const JPEG_START_OF_SCAN = 0xda;
const JPEG_END_OF_IMAGE = 0xd9;

function isStartOfFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** Markers without a length field: stuffed zero, TEM, RST0-7, SOI. */
function standsAlone(marker: number): boolean {
  return marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8);
}

/**
 * Walks all markers: the frame header gives the size; scans are counted, since each costs a pass over the whole
 * picture.
 */
function readJpegHeader(bytes: Buffer, label: string): PictureHeader {
  let header: PictureHeader | null = null;
  let numScans = 0;
  let position = 2;
  while (position + 1 < bytes.length) {
    position = bytes.indexOf(0xff, position);
    if (position < 0 || position + 1 >= bytes.length) break;
    const marker = bytes[position + 1]!;
    if (marker === 0xff) {
      position += 1;
      continue;
    }
    if (marker === JPEG_END_OF_IMAGE) break;
    if (standsAlone(marker) || position + 4 > bytes.length) {
      position += 2;
      continue;
    }
    if (isStartOfFrame(marker) && header === null) {
      if (position + 10 > bytes.length) break;
      header = {
        format: 'jpeg',
        bitsPerSample: bytes[position + 4]!,
        height: bytes.readUInt16BE(position + 5),
        width: bytes.readUInt16BE(position + 7),
        components: bytes[position + 9]!,
      };
    }
    if (marker === JPEG_START_OF_SCAN && ++numScans > MAX_JPEG_SCANS) {
      throw invalid(label, `has more than ${MAX_JPEG_SCANS} progressive scans`, { limit: MAX_JPEG_SCANS });
    }
    position += 2 + bytes.readUInt16BE(position + 2);
  }
  if (header === null) throw invalid(label, 'is a JPEG without a frame header');
  if (header.bitsPerSample !== 8)
    throw invalid(label, `is a JPEG of ${header.bitsPerSample} bits; only 8 are accepted`);
  return header;
}

function readWebpHeader(bytes: Buffer, label: string): PictureHeader {
  const common = { format: 'webp', bitsPerSample: 8, components: 3 } as const;
  if (bytes.length >= 30) {
    if (startsWith(bytes, 12, 'VP8X')) {
      return { ...common, width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
    }
    if (startsWith(bytes, 12, 'VP8L') && bytes[20] === 0x2f) {
      const sizes = bytes.readUInt32LE(21);
      return { ...common, width: (sizes & 0x3fff) + 1, height: ((sizes >>> 14) & 0x3fff) + 1 };
    }
    if (startsWith(bytes, 12, 'VP8 ') && startsWith(bytes, 23, '\x9d\x01\x2a')) {
      return { ...common, width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    }
  }
  throw invalid(label, 'is a WebP with a broken or truncated header');
}

function readGifHeader(bytes: Buffer, label: string): PictureHeader {
  if (bytes.length < 13) throw invalid(label, 'is a GIF with a truncated header');
  const width = bytes.readUInt16LE(6);
  const height = bytes.readUInt16LE(8);
  return { format: 'gif', bitsPerSample: 8, components: 3, width, height };
}

function readHeader(bytes: Buffer, label: string): PictureHeader {
  if (startsWith(bytes, 0, '\x89PNG\r\n\x1a\n')) return readPngHeader(bytes, label);
  if (startsWith(bytes, 0, '\xff\xd8\xff')) return readJpegHeader(bytes, label);
  if (startsWith(bytes, 0, 'GIF87a') || startsWith(bytes, 0, 'GIF89a')) return readGifHeader(bytes, label);
  if (startsWith(bytes, 0, 'RIFF') && startsWith(bytes, 8, 'WEBP')) return readWebpHeader(bytes, label);
  const refused = REFUSED_FORMATS.find(([, offset, magic]) => startsWith(bytes, offset, magic));
  throw invalid(label, `is ${refused?.[0] ?? 'of an unknown format'}; JPEG, PNG, WebP and GIF are accepted`);
}

/** Fails with INVALID_PICTURE where sides or pixels are over a limit; also used once a decoder knows the true size. */
export function checkPictureSize(width: number, height: number, label: string): void {
  const size = `${width} x ${height} pixels`;
  if (width === 0 || height === 0) throw invalid(label, `has ${size}; at least 1 x 1 is needed`);
  if (Math.max(width, height) > MAX_PICTURE_SIDE) {
    throw invalid(label, `has ${size}; a side may have at most ${MAX_PICTURE_SIDE}`, {
      limit: MAX_PICTURE_SIDE,
    });
  }
  if (width * height > MAX_PICTURE_PIXELS) {
    throw invalid(label, `has ${size}; at most ${MAX_PICTURE_PIXELS} pixels are accepted`, {
      limit: MAX_PICTURE_PIXELS,
    });
  }
}

/** Costs nothing, so callers may do it before a picture is queued or copied. */
function checkPictureBytes(encoded: Uint8Array, label: string): void {
  if (encoded.length === 0) throw invalid(label, 'is empty (0 bytes)');
  if (encoded.length > MAX_PICTURE_BYTES) {
    throw invalid(label, `has ${encoded.length} bytes; at most ${MAX_PICTURE_BYTES} are accepted`, {
      limit: MAX_PICTURE_BYTES,
    });
  }
}

/** Format and size of an encoded picture that is within every limit; INVALID_PICTURE otherwise. */
export function sniffPicture(encoded: Uint8Array, label: string): PictureHeader {
  checkPictureBytes(encoded, label);
  const header = readHeader(Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length), label);
  checkPictureSize(header.width, header.height, label);
  return header;
}
