// Bicubic resize of 8-bit RGB and the turning and cutting of pictures, written plainly: what the native code is
// compared with. Pillow's arithmetic: libImaging/Resample.c, the 8-bits-per-channel path.
import type { TileGrid } from '../../coordinator/vision/tiling.js';
import type { RgbImage } from '../../coordinator/vision/picture.js';
import type { Orientation } from '../../coordinator/vision/orientation.js';

/** Weights are 22-bit fixed point: 8 bits of pixel and 2 of headroom (negative lobes) stay free in an int32 sum. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);
const BICUBIC_SUPPORT = 2;

/**
 * For each output position: the first input position, how many inputs it reads, and their weights (row stride `size`).
 */
interface ResampleWindows {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Int32Array;
  readonly size: number;
}

/** Keys' cubic kernel with a = -0.5, in Pillow's order of operations. */
function bicubicWeight(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

/**
 * When shrinking, kernel and support are stretched by the scale (antialiasing); weights sum to one before they are
 * rounded.
 */
function computeWindows(inputSize: number, outputSize: number): ResampleWindows {
  const scale = inputSize / outputSize;
  const stretch = Math.max(scale, 1);
  const support = BICUBIC_SUPPORT * stretch;
  const inverseStretch = 1 / stretch;
  const size = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(outputSize);
  const counts = new Int32Array(outputSize);
  const weights = new Int32Array(outputSize * size);
  const exact = new Float64Array(size);
  for (let position = 0; position < outputSize; position++) {
    const center = (position + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inputSize) - start;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const weight = bicubicWeight((i + start - center + 0.5) * inverseStretch);
      exact[i] = weight;
      sum += weight;
    }
    for (let i = 0; i < count; i++) {
      const weight = sum === 0 ? exact[i]! : exact[i]! / sum;
      const rounding = weight < 0 ? -0.5 : 0.5;
      weights[position * size + i] = Math.trunc(rounding + weight * (1 << PRECISION_BITS));
    }
    starts[position] = start;
    counts[position] = count;
  }
  return { starts, counts, weights, size };
}

function clampToByte(fixed: number): number {
  const value = fixed >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

function resizeHorizontally(image: RgbImage, outputWidth: number): RgbImage {
  const { starts, counts, weights, size } = computeWindows(image.width, outputWidth);
  const source = image.data;
  const target = new Uint8Array(image.height * outputWidth * 3);
  let offset = 0;
  for (let y = 0; y < image.height; y++) {
    const rowOffset = y * image.width * 3;
    for (let x = 0; x < outputWidth; x++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let pixel = rowOffset + starts[x]! * 3;
      const firstWeight = x * size;
      const endWeight = firstWeight + counts[x]!;
      for (let k = firstWeight; k < endWeight; k++) {
        const weight = weights[k]!;
        red = (red + Math.imul(source[pixel]!, weight)) | 0;
        green = (green + Math.imul(source[pixel + 1]!, weight)) | 0;
        blue = (blue + Math.imul(source[pixel + 2]!, weight)) | 0;
        pixel += 3;
      }
      target[offset] = clampToByte(red);
      target[offset + 1] = clampToByte(green);
      target[offset + 2] = clampToByte(blue);
      offset += 3;
    }
  }
  return { width: outputWidth, height: image.height, data: target };
}

/** Walks whole rows, adding one weighted input row after the other, so that memory is read in order. */
function resizeVertically(image: RgbImage, outputHeight: number): RgbImage {
  const { starts, counts, weights, size } = computeWindows(image.height, outputHeight);
  const rowLength = image.width * 3;
  const source = image.data;
  const target = new Uint8Array(outputHeight * rowLength);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < outputHeight; y++) {
    sums.fill(HALF);
    for (let k = 0; k < counts[y]!; k++) {
      const weight = weights[y * size + k]!;
      const rowOffset = (starts[y]! + k) * rowLength;
      for (let i = 0; i < rowLength; i++)
        sums[i] = (sums[i]! + Math.imul(source[rowOffset + i]!, weight)) | 0;
    }
    const targetOffset = y * rowLength;
    for (let i = 0; i < rowLength; i++) target[targetOffset + i] = clampToByte(sums[i]!);
  }
  return { width: image.width, height: outputHeight, data: target };
}

/** Horizontal pass first, rounded to bytes, then vertical; a pass that would not change the size is skipped. */
export function resizeBicubic(image: RgbImage, width: number, height: number): RgbImage {
  const widened = image.width === width ? image : resizeHorizontally(image, width);
  return widened.height === height ? widened : resizeVertically(widened, height);
}

/**
 * Cuts [rows * side, columns * side, 3] into [rows * columns, side, side, 3], row by row, left to right, into `target`.
 */
export function cutTiles(image: RgbImage, grid: TileGrid, side: number, target: Uint8Array): void {
  const tileRowBytes = side * 3;
  const imageRowBytes = image.width * 3;
  let targetOffset = 0;
  for (let row = 0; row < grid.rows; row++) {
    for (let column = 0; column < grid.columns; column++) {
      let sourceOffset = row * side * imageRowBytes + column * tileRowBytes;
      for (let y = 0; y < side; y++) {
        target.set(image.data.subarray(sourceOffset, sourceOffset + tileRowBytes), targetOffset);
        targetOffset += tileRowBytes;
        sourceOffset += imageRowBytes;
      }
    }
  }
}

/** [height, width, 3], turned: a permutation of pixels. Orientation 1 is the picture itself. */
export function orient(image: RgbImage, orientation: Orientation): RgbImage {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const isExchanged = orientation >= 5;
  const mirrorsX = [2, 3, 7, 8].includes(orientation);
  const mirrorsY = [3, 4, 6, 7].includes(orientation);
  const turnedWidth = isExchanged ? height : width;
  const turnedHeight = isExchanged ? width : height;
  const turned = new Uint8Array(data.length);
  let target = 0;
  for (let y = 0; y < turnedHeight; y++) {
    for (let x = 0; x < turnedWidth; x++) {
      const storedX = isExchanged ? y : x;
      const storedY = isExchanged ? x : y;
      const column = mirrorsX ? width - 1 - storedX : storedX;
      const row = mirrorsY ? height - 1 - storedY : storedY;
      const source = (row * width + column) * 3;
      turned[target++] = data[source]!;
      turned[target++] = data[source + 1]!;
      turned[target++] = data[source + 2]!;
    }
  }
  return { width: turnedWidth, height: turnedHeight, data: turned };
}
