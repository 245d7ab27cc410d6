// Whatever is uploaded ends in pixels or in one INVALID_PICTURE that names the picture and tells nothing about this
// process.
import assert from 'node:assert/strict';
import { deflateSync, crc32 } from 'node:zlib';
import sharp from 'sharp';
import { AppError } from '../../../../common/errors.js';
import { MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS, MAX_PICTURE_SIDE } from '../../../../common/limits.js';
import { repeatFrame } from '../../../support/long-gif.js';
import { Stopwatch } from '../../../support/stopwatch.js';
import { decodePicture } from '../../../../coordinator/vision/decode-picture.js';

const LABEL = 'pictures[1]';

async function refusal(encoded: Uint8Array): Promise<AppError> {
  try {
    await decodePicture(encoded, LABEL);
  } catch (error) {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, 'INVALID_PICTURE');
    assert.ok(error.message.startsWith(LABEL), error.message);
    assert.equal(error.details['param'], LABEL);
    assert.doesNotMatch(error.message, /0x[0-9a-f]{4}|\/[a-z]+\/|\.js|vips|sharp/i);
    return error;
  }
  return assert.fail('the picture was accepted');
}

function pngChunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body) >>> 0, 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

function pngWithSize(width: number, height: number): Buffer {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    pngChunk('IHDR', header),
    pngChunk('IDAT', deflateSync(Buffer.alloc(100))),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

function jpegWithSize(width: number, height: number): Buffer {
  const frame = Buffer.from([
    0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0, 0, 0, 0, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xff, 0xd9,
  ]);
  frame.writeUInt16BE(height, 7);
  frame.writeUInt16BE(width, 9);
  return frame;
}

function gifWithSize(width: number, height: number): Buffer {
  const header = Buffer.from('GIF89a\0\0\0\0\0\0\0', 'latin1');
  header.writeUInt16LE(width, 6);
  header.writeUInt16LE(height, 8);
  return Buffer.concat([header, Buffer.from([0x3b])]);
}

const noise = sharp(
  Buffer.alloc(90 * 70 * 3).map((_, i) => (i * 2654435761) >>> 24),
  {
    raw: { width: 90, height: 70, channels: 3 },
  },
);

describe('limits of pictures, seen in the header', () => {
  it('refuses 0 bytes', async () => {
    assert.match((await refusal(new Uint8Array(0))).message, /is empty \(0 bytes\)/);
  });

  it('refuses too many bytes and names the limit', async () => {
    const error = await refusal(new Uint8Array(MAX_PICTURE_BYTES + 1));
    assert.equal(error.details['limit'], MAX_PICTURE_BYTES);
    assert.match(error.message, new RegExp(String(MAX_PICTURE_BYTES)));
  });

  for (const [name, encoded, limit] of [
    ['PNG of 60,000 x 60,000', pngWithSize(60_000, 60_000), MAX_PICTURE_SIDE],
    ['PNG of 2^31 - 1', pngWithSize(2 ** 31 - 1, 1), MAX_PICTURE_SIDE],
    ['PNG one side over', pngWithSize(MAX_PICTURE_SIDE + 1, 1), MAX_PICTURE_SIDE],
    ['PNG over the pixels', pngWithSize(MAX_PICTURE_PIXELS / 4096 + 1, 4096), MAX_PICTURE_PIXELS],
    ['JPEG of 65,535 x 65,535', jpegWithSize(65_535, 65_535), MAX_PICTURE_SIDE],
    ['GIF of 65,535 x 65,535', gifWithSize(65_535, 65_535), MAX_PICTURE_SIDE],
  ] as const) {
    it(`refuses a ${name} without decoding it`, async () => {
      const watch = new Stopwatch();
      assert.equal((await refusal(encoded)).details['limit'], limit);
      assert.ok(watch.stop() < 1000);
    });
  }

  it('refuses a side of zero', async () => {
    assert.match((await refusal(pngWithSize(0, 5))).message, /0 x 5 pixels/);
    assert.match((await refusal(jpegWithSize(5, 0))).message, /5 x 0 pixels/);
  });

  it('accepts a side of exactly the limit, and 1 x 1', async () => {
    const long = await sharp({
      create: { width: MAX_PICTURE_SIDE, height: 1, channels: 3, background: 'red' },
    })
      .png()
      .toBuffer();
    assert.equal((await decodePicture(long, LABEL)).width, MAX_PICTURE_SIDE);
    const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: '#010203' } })
      .png()
      .toBuffer();
    assert.deepEqual([...(await decodePicture(dot, LABEL)).data], [1, 2, 3]);
  });

  it('refuses a GIF whose frame reaches beyond the limit though its screen does not', async () => {
    const frame = Buffer.from([0x2c, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 8, 0]);
    const encoded = Buffer.concat([gifWithSize(4, 4).subarray(0, 13), frame]);
    assert.equal((await refusal(encoded)).details['limit'], MAX_PICTURE_SIDE);
  });

  it('refuses a progressive JPEG with hundreds of scans', async () => {
    const encoded = await noise.clone().jpeg({ progressive: true }).toBuffer();
    const lastScan = encoded.lastIndexOf(Buffer.from([0xff, 0xda]));
    const scan = encoded.subarray(lastScan, encoded.length - 2);
    const bomb = Buffer.concat([
      encoded.subarray(0, lastScan),
      ...Array<Buffer>(200).fill(scan),
      Buffer.from([0xff, 0xd9]),
    ]);
    assert.match((await refusal(bomb)).message, /progressive scans/);
    await decodePicture(encoded, LABEL);
  });
});

describe('formats of pictures', () => {
  const refused: readonly (readonly [string, Uint8Array | Promise<Uint8Array>])[] = [
    ['TIFF', noise.clone().tiff().toBuffer()],
    ['AVIF', noise.clone().avif({ effort: 0 }).toBuffer()],
    ['SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')],
    ['XML', Buffer.from('<?xml version="1.0"?><svg/>')],
    ['PDF', Buffer.from('%PDF-1.7\n')],
    ['BMP', Buffer.from('BM\0\0\0\0')],
    ['JPEG 2000', Buffer.from('\0\0\0\x0cjP  \r\n\x87\n', 'latin1')],
    ['JPEG 2000', Buffer.from([0xff, 0x4f, 0xff, 0x51, 0, 0])],
    ['PSD', Buffer.from('8BPS\0\x01')],
    ['FPX', Buffer.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1])],
    ['unknown', Buffer.from('hello')],
    ['unknown', Buffer.from(' \n<svg xmlns="http://www.w3.org/2000/svg"/>')],
  ];
  for (const [name, encoded] of refused) {
    it(`refuses ${name} by its first bytes`, async () => {
      const error = await refusal(await encoded);
      assert.match(error.message, new RegExp(`${name}.*JPEG, PNG, WebP and GIF are accepted`));
      assert.equal(error.cause, undefined, 'no decoder saw it');
    });
  }

  it('decodes only the first frame of a GIF of 10,000 frames', async () => {
    const single = await noise.clone().gif({ colours: 8 }).toBuffer();
    const many = repeatFrame(single, 10_000);
    if (many.length > MAX_PICTURE_BYTES) assert.fail('the test picture is too large');
    const watch = new Stopwatch();
    const image = await decodePicture(many, LABEL);
    assert.ok(watch.stop() < 1000);
    assert.deepEqual(image.data, (await decodePicture(single, LABEL)).data);
  });
});

describe('broken pictures', () => {
  /** Seeded: a failure prints the case and comes back. */
  function randomBits(seed: number): () => number {
    let state = seed >>> 0;
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
  }

  for (const format of ['jpeg', 'png', 'webp', 'gif'] as const) {
    it(`survives ${format} cut anywhere`, async () => {
      const encoded = await noise.clone().toFormat(format).toBuffer();
      const { width } = await decodePicture(encoded, LABEL);
      assert.equal(width, 90);
      for (let share = 0; share < 0.95; share += 0.05) {
        await refusal(encoded.subarray(0, Math.floor(encoded.length * share)));
      }
    });

    it(`survives ${format} with flipped bits`, async function () {
      this.timeout(60_000);
      const encoded = await noise.clone().toFormat(format).toBuffer();
      const random = randomBits(20_26 + format.length);
      for (let round = 0; round < 80; round++) {
        const broken = Buffer.from(encoded);
        for (let flips = 0; flips < 1 + (round % 12); flips++) {
          const headerFirst = round % 2 === 0 ? Math.min(64, broken.length) : broken.length;
          broken[Math.floor(random() * headerFirst)]! ^= 1 << Math.floor(random() * 8);
        }
        const image = await decodePicture(broken, LABEL).catch((error: unknown) => {
          assert.ok(
            error instanceof AppError && error.code === 'INVALID_PICTURE',
            `round ${round}: ${String(error)}`,
          );
          return null;
        });
        if (image !== null) assert.equal(image.data.length, image.width * image.height * 3, `round ${round}`);
      }
    });
  }
});
