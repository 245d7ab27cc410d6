// How a picture asks to be turned before it is shown: the EXIF tag Orientation, else XMP's, read as Pillow reads them;
// and the turning. Reads metadata only and decodes nothing. Metadata that is broken says nothing: the picture may be
// whole.
import { inflateSync } from 'node:zlib';
import { MAX_PICTURE_TEXT_BYTES } from '../../common/limits.js';
import { loadPictureAddon } from './picture-addon.js';
import type { RgbImage } from './picture.js';
import type { PictureHeader } from './sniff-picture.js';

/** 1: as stored; 2 to 4: mirrored, half turn, upside down; 5 to 8: the same four with rows and columns exchanged. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** Blocks of metadata as the file holds them; null: none. */
interface Metadata {
  readonly exif: Buffer | null;
  readonly xmp: Buffer | null;
}

const EXIF_PREFIX = Buffer.from('Exif\0\0', 'latin1');
const XMP_PREFIX = Buffer.from('http://ns.adobe.com/xap/1.0/\0', 'latin1');
const XMP_PATTERN = /tiff:Orientation(?:="|>)([0-9])/;
const ORIENTATION_TAG = 0x0112;
const TYPE_SHORT = 3;
const TYPE_LONG = 4;

export function readOrientation(encoded: Uint8Array, format: PictureHeader['format']): Orientation {
  const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length);
  const { exif, xmp } = readMetadata(bytes, format);
  const value = (exif === null ? null : exifOrientation(exif)) ?? xmpOrientation(xmp);
  return value !== null && value >= 1 && value <= 8 ? (value as Orientation) : 1;
}

function readMetadata(bytes: Buffer, format: PictureHeader['format']): Metadata {
  switch (format) {
    case 'jpeg':
      return jpegMetadata(bytes);
    case 'png':
      return pngMetadata(bytes);
    case 'webp':
      return webpMetadata(bytes);
    case 'gif':
      return { exif: null, xmp: null };
  }
}

/** Application segments up to the first scan; EXIF that one segment cannot hold goes on in the next. */
function jpegMetadata(bytes: Buffer): Metadata {
  const exif: Buffer[] = [];
  let xmp: Buffer | null = null;
  let position = 2;
  while (position + 4 <= bytes.length && bytes[position] === 0xff) {
    const marker = bytes[position + 1]!;
    if (marker === 0xff) {
      position += 1;
      continue;
    }
    if (marker === 0xda) break;
    const end = position + 2 + bytes.readUInt16BE(position + 2);
    const segment = bytes.subarray(position + 4, end);
    if (marker === 0xe1 && startsWith(segment, EXIF_PREFIX)) exif.push(segment.subarray(EXIF_PREFIX.length));
    if (marker === 0xe1 && startsWith(segment, XMP_PREFIX)) xmp = segment.subarray(XMP_PREFIX.length);
    position = end;
  }
  return { exif: exif.length === 0 ? null : Buffer.concat(exif), xmp };
}

/** The chunk eXIf, wherever it stands, before the hexadecimal text in which older writers put the same. */
function pngMetadata(bytes: Buffer): Metadata {
  let exif: Buffer | null = null;
  let xmp: Buffer | null = null;
  let profile: Buffer | null = null;
  for (let position = 8; position + 12 <= bytes.length;) {
    const end = position + 8 + bytes.readUInt32BE(position);
    const name = bytes.toString('latin1', position + 4, position + 8);
    const content = bytes.subarray(position + 8, end);
    if (name === 'eXIf') exif = content;
    else if (name === 'zTXt' || name === 'tEXt' || name === 'iTXt') {
      const keyword = content.toString('latin1', 0, Math.max(content.indexOf(0), 0));
      if (keyword === 'Raw profile type exif') profile = readPngText(name, content);
      if (keyword === 'XML:com.adobe.xmp') xmp = readPngText(name, content);
    }
    position = end + 4;
  }
  return { exif: exif ?? (profile === null ? null : readRawProfile(profile)), xmp };
}

/** The text behind the keyword; null where it is broken or longer than any metadata. */
function readPngText(chunk: 'zTXt' | 'tEXt' | 'iTXt', content: Buffer): Buffer | null {
  let start = content.indexOf(0) + 1;
  let isCompressed = false;
  if (chunk === 'zTXt') {
    isCompressed = true;
    start += 1;
  } else if (chunk === 'iTXt') {
    isCompressed = content[start] === 1;
    const languageEnd = content.indexOf(0, start + 2);
    const keywordEnd = languageEnd < 0 ? -1 : content.indexOf(0, languageEnd + 1);
    if (keywordEnd < 0) return null;
    start = keywordEnd + 1;
  }
  const text = content.subarray(start);
  if (!isCompressed) return text.length > MAX_PICTURE_TEXT_BYTES ? null : text;
  try {
    return inflateSync(text, { maxOutputLength: MAX_PICTURE_TEXT_BYTES });
  } catch {
    return null;
  }
}

/** ImageMagick's form: a line break, the name, the length, then hexadecimal digits in lines. */
function readRawProfile(text: Buffer): Buffer {
  return Buffer.from(text.toString('latin1').split('\n').slice(3).join(''), 'hex');
}

/** Chunks of an extended WebP whose header says that it has them. */
function webpMetadata(bytes: Buffer): Metadata {
  let exif: Buffer | null = null;
  let xmp: Buffer | null = null;
  const flags = bytes.toString('latin1', 12, 16) === 'VP8X' ? (bytes[20] ?? 0) : 0;
  for (let position = 12; flags !== 0 && position + 8 <= bytes.length;) {
    const length = bytes.readUInt32LE(position + 4);
    const name = bytes.toString('latin1', position, position + 4);
    const content = bytes.subarray(position + 8, position + 8 + length);
    if (name === 'EXIF' && (flags & 0x08) !== 0) exif ??= content;
    if (name === 'XMP ' && (flags & 0x04) !== 0) xmp ??= content;
    position += 8 + length + (length % 2);
  }
  return { exif, xmp };
}

/** The value in the first directory of a TIFF block; null where it is not there or no number. */
function exifOrientation(block: Buffer): number | null {
  let exif = block;
  while (startsWith(exif, EXIF_PREFIX)) exif = exif.subarray(EXIF_PREFIX.length);
  const order = exif.toString('latin1', 0, 2);
  if (order !== 'II' && order !== 'MM') return null;
  const read16 = (at: number): number => (order === 'II' ? exif.readUInt16LE(at) : exif.readUInt16BE(at));
  const read32 = (at: number): number => (order === 'II' ? exif.readUInt32LE(at) : exif.readUInt32BE(at));
  if (exif.length < 10) return null;
  const directory = read32(4);
  if (directory + 2 > exif.length) return null;
  for (let entry = directory + 2, left = read16(directory); left > 0 && entry + 12 <= exif.length; left--) {
    if (read16(entry) === ORIENTATION_TAG && read32(entry + 4) === 1) {
      const type = read16(entry + 2);
      if (type === TYPE_SHORT) return read16(entry + 8);
      if (type === TYPE_LONG) return read32(entry + 8);
    }
    entry += 12;
  }
  return null;
}

function xmpOrientation(xmp: Buffer | null): number | null {
  const match = xmp === null ? null : XMP_PATTERN.exec(xmp.toString('latin1', 0, MAX_PICTURE_TEXT_BYTES));
  return match === null ? null : Number(match[1]);
}

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.subarray(0, prefix.length).equals(prefix);
}

/** [height, width, 3], turned: a permutation of pixels. Orientation 1 is the picture itself. */
export function orient(image: RgbImage, orientation: Orientation, numThreads = 1): RgbImage {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const turned = new Uint8Array(data.length);
  loadPictureAddon().turnUpright(data, width, height, orientation, turned, numThreads);
  return orientation >= 5 ? { width: height, height: width, data: turned } : { width, height, data: turned };
}
