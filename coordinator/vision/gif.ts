// First frame of a GIF, as Pillow gives it after convert('RGB'). Its own decoder, because libvips' one leaves
// transparent pixels black where Pillow shows their palette colour, and because later frames are then never touched.
// Pure; fails with GifError.
import type { RgbImage } from './picture.js';

/** What is wrong with the file; the message has no picture data. */
export class GifError extends Error {}

interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly isInterlaced: boolean;
  /** RGB triples; null: indices are grey levels. */
  readonly palette: Uint8Array | null;
  readonly transparentIndex: number | null;
  readonly lzwMinimumBits: number;
  /** Offset of the first data sub-block. */
  readonly dataOffset: number;
}

const EXTENSION = 0x21;
const IMAGE_DESCRIPTOR = 0x2c;
const GRAPHIC_CONTROL = 0xf9;
const MAX_LZW_BITS = 12;

function byteAt(bytes: Uint8Array, offset: number): number {
  const value = bytes[offset];
  if (value === undefined) throw new GifError('is truncated');
  return value;
}

function uint16At(bytes: Uint8Array, offset: number): number {
  return byteAt(bytes, offset) | (byteAt(bytes, offset + 1) << 8);
}

function paletteAt(bytes: Uint8Array, offset: number, packed: number): Uint8Array | null {
  if ((packed & 0x80) === 0) return null;
  const length = 3 * (2 << (packed & 7));
  if (offset + length > bytes.length) throw new GifError('is truncated');
  return bytes.subarray(offset, offset + length);
}

function skipSubBlocks(bytes: Uint8Array, offset: number): number {
  let position = offset;
  for (;;) {
    const length = byteAt(bytes, position);
    position += 1 + length;
    if (length === 0) return position;
  }
}

function findFirstFrame(bytes: Uint8Array): Frame {
  const globalPalette = paletteAt(bytes, 13, byteAt(bytes, 10));
  let position = 13 + (globalPalette?.length ?? 0);
  let transparentIndex: number | null = null;
  for (;;) {
    const introducer = byteAt(bytes, position);
    if (introducer === EXTENSION) {
      const isGraphicControl =
        byteAt(bytes, position + 1) === GRAPHIC_CONTROL && byteAt(bytes, position + 2) >= 4;
      if (isGraphicControl && (byteAt(bytes, position + 3) & 1) === 1)
        transparentIndex = byteAt(bytes, position + 6);
      position = skipSubBlocks(bytes, position + 2);
    } else if (introducer === IMAGE_DESCRIPTOR) {
      const packed = byteAt(bytes, position + 9);
      const localPalette = paletteAt(bytes, position + 10, packed);
      const codeOffset = position + 10 + (localPalette?.length ?? 0);
      return {
        left: uint16At(bytes, position + 1),
        top: uint16At(bytes, position + 3),
        width: uint16At(bytes, position + 5),
        height: uint16At(bytes, position + 7),
        isInterlaced: (packed & 0x40) !== 0,
        palette: localPalette ?? globalPalette,
        transparentIndex,
        lzwMinimumBits: byteAt(bytes, codeOffset),
        dataOffset: codeOffset + 1,
      };
    } else if (introducer === 0x3b) {
      throw new GifError('holds no frame');
    } else {
      position += 1;
    }
  }
}

/** The data of all sub-blocks of the frame, joined; a missing end is left to the LZW decoder to notice. */
function joinSubBlocks(bytes: Uint8Array, offset: number): Uint8Array {
  const joined = new Uint8Array(bytes.length - offset);
  let length = 0;
  let position = offset;
  while (position < bytes.length && bytes[position] !== 0) {
    const block = bytes.subarray(position + 1, position + 1 + bytes[position]!);
    joined.set(block, length);
    length += block.length;
    position += 1 + bytes[position]!;
  }
  return joined.subarray(0, length);
}

/** Variable-width LZW, least significant bit first. Returns [count] indices; stops early only at an end code. */
function decodeLzw(data: Uint8Array, minimumBits: number, indices: Uint8Array): void {
  if (minimumBits < 1 || minimumBits > 11) throw new GifError('has an impossible LZW code size');
  const clearCode = 1 << minimumBits;
  const endCode = clearCode + 1;
  const prefixes = new Int16Array(1 << MAX_LZW_BITS);
  const suffixes = new Uint8Array(1 << MAX_LZW_BITS);
  const stack = new Uint8Array(1 << MAX_LZW_BITS);
  for (let code = 0; code < clearCode; code++) suffixes[code] = code;
  let bits = minimumBits + 1;
  let nextCode = endCode + 1;
  let previous = -1;
  let first = 0;
  let buffer = 0;
  let numBuffered = 0;
  let position = 0;
  let written = 0;
  while (written < indices.length) {
    while (numBuffered < bits) {
      if (position >= data.length) throw new GifError('is truncated');
      buffer |= data[position++]! << numBuffered;
      numBuffered += 8;
    }
    const code = buffer & ((1 << bits) - 1);
    buffer >>>= bits;
    numBuffered -= bits;
    if (code === clearCode) {
      bits = minimumBits + 1;
      nextCode = endCode + 1;
      previous = -1;
      continue;
    }
    if (code === endCode) return;
    if (code > nextCode || (code === nextCode && previous < 0)) throw new GifError('has a broken LZW code');
    let depth = 0;
    let current = code;
    if (code === nextCode) {
      stack[depth++] = first;
      current = previous;
    }
    while (current > endCode) {
      stack[depth++] = suffixes[current]!;
      current = prefixes[current]!;
    }
    first = suffixes[current]!;
    indices[written++] = first;
    while (depth > 0 && written < indices.length) indices[written++] = stack[--depth]!;
    if (previous >= 0 && nextCode < 1 << MAX_LZW_BITS) {
      prefixes[nextCode] = previous;
      suffixes[nextCode] = first;
      nextCode += 1;
      if (nextCode === 1 << bits && bits < MAX_LZW_BITS) bits += 1;
    }
    previous = code;
  }
}

/** Rows in the order in which an interlaced frame stores them. */
function interlacedRows(height: number): number[] {
  const rows: number[] = [];
  for (const [start, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let row = start; row < height; row += step) rows.push(row);
  }
  return rows;
}

/**
 * 256 RGB triples. Indices beyond a palette are black; without one, or where it only counts up, they are grey levels
 * (Pillow's mode L).
 */
function buildColors(palette: Uint8Array | null): Uint8Array {
  const greyLevels = new Uint8Array(768).map((_, i) => Math.floor(i / 3));
  if (palette === null || palette.every((value, i) => value === greyLevels[i])) return greyLevels;
  const colors = new Uint8Array(768);
  colors.set(palette);
  return colors;
}

export interface GifSize {
  readonly width: number;
  readonly height: number;
}

/**
 * The canvas is the logical screen, enlarged where the frame reaches beyond it; `checkSize` sees it before any pixel is
 * allocated. Canvas outside the frame shows the transparent index, or index 0.
 */
export function decodeGif(bytes: Uint8Array, checkSize: (size: GifSize) => void): RgbImage {
  const frame = findFirstFrame(bytes);
  const width = Math.max(uint16At(bytes, 6), frame.left + frame.width);
  const height = Math.max(uint16At(bytes, 8), frame.top + frame.height);
  checkSize({ width, height });
  const background = frame.transparentIndex ?? 0;
  const indices = new Uint8Array(frame.width * frame.height).fill(background);
  decodeLzw(joinSubBlocks(bytes, frame.dataOffset), frame.lzwMinimumBits, indices);

  const colors = buildColors(frame.palette);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = colors[background * 3 + (i % 3)]!;
  const rows = frame.isInterlaced ? interlacedRows(frame.height) : null;
  for (let row = 0; row < frame.height; row++) {
    let target = ((frame.top + (rows === null ? row : rows[row]!)) * width + frame.left) * 3;
    for (let column = 0; column < frame.width; column++) {
      const color = indices[row * frame.width + column]! * 3;
      data[target] = colors[color]!;
      data[target + 1] = colors[color + 1]!;
      data[target + 2] = colors[color + 2]!;
      target += 3;
    }
  }
  return { width, height, data };
}
