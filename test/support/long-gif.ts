// Animations, of which a decoder is to look at the first frame alone.
const FRAME_START = Buffer.from([0x21, 0xf9]);
const TRAILER = Buffer.from([0x3b]);

/** A GIF of one frame, with that frame so often. */
export function repeatFrame(single: Buffer, count: number): Buffer {
  const start = single.indexOf(FRAME_START);
  const frame = single.subarray(start, single.length - TRAILER.length);
  return Buffer.concat([single.subarray(0, start), ...Array<Buffer>(count).fill(frame), TRAILER]);
}
