// The pool of picture threads: golden tiles, limits, bad pictures, order, concurrency, failing threads.
import assert from 'node:assert/strict';
import sharp from 'sharp';
import { AppError, type ErrorCode } from '../../../../common/errors.js';
import { MAX_QUEUED_PICTURES } from '../../../../common/limits.js';
import type { TilingSpec } from '../../../../coordinator/checkpoint/model-spec.js';
import {
  createPictureProcessor,
  type PicturePoolOptions,
} from '../../../../coordinator/vision/picture-processor.js';
import { hashPicture } from '../../../../coordinator/vision/process-picture.js';

const TILING: TilingSpec = {
  tileSize: 28,
  minTiles: 1,
  maxTiles: 4,
  useThumbnail: true,
  isDynamic: true,
  tokensPerTile: 1,
};
const MISBEHAVING = new URL('./misbehaving-worker.js', import.meta.url);

function solid(width: number, height: number, background: string): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

function failsWith(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

describe('picture processor', () => {
  let dot: Buffer;
  before(async () => {
    dot = await solid(1, 1, 'white');
  });

  async function withProcessor(
    options: Partial<PicturePoolOptions>,
    body: (processor: ReturnType<typeof createPictureProcessor>) => Promise<void>,
  ): Promise<void> {
    const processor = createPictureProcessor({
      tiling: TILING,
      exifRotation: true,
      concurrency: 1,
      ...options,
    });
    try {
      await body(processor);
    } finally {
      await processor.close();
    }
  }

  it('gives tiles, size and hash, and leaves the encoded bytes with the caller', async () => {
    await withProcessor({}, async (processor) => {
      const message = Buffer.concat([
        Buffer.from('head'),
        await solid(200, 100, '#102030'),
        Buffer.from('tail'),
      ]);
      const picture = await processor.process(message.subarray(4, -4), 'pictures[0]');
      assert.deepEqual(
        [picture.width, picture.height, picture.numTiles, picture.tileSize],
        [200, 100, 3, 28],
      );
      assert.equal(picture.tiles.length, 3 * 28 * 28 * 3);
      assert.deepEqual([...picture.tiles.subarray(0, 3)], [0x10, 0x20, 0x30]);
      assert.match(picture.contentHash, /^[0-9a-f]{64}$/);
      assert.equal(message.toString('latin1', 0, 4), 'head');
    });
  });

  it('hashes the shape: the same bytes of another size are another picture', async () => {
    await withProcessor({}, async (processor) => {
      const wide = await processor.process(await solid(56, 28, 'red'), 'a');
      const wider = await processor.process(await solid(112, 56, 'red'), 'b');
      assert.deepEqual(wide.tiles, wider.tiles);
      assert.notEqual(wide.contentHash, wider.contentHash);
      const again = await processor.process(await solid(56, 28, 'red'), 'c');
      assert.equal(wide.contentHash, again.contentHash);
      assert.notEqual(hashPicture(2, 3, new Uint8Array(6)), hashPicture(3, 2, new Uint8Array(6)));
    });
  });

  it('makes one tile where tiling is not dynamic', async () => {
    await withProcessor({ tiling: { ...TILING, isDynamic: false } }, async (processor) => {
      assert.equal((await processor.process(await solid(300, 100, 'blue'), 'a')).numTiles, 1);
    });
  });

  it('passes errors of the worker on with code, label and limit', async () => {
    await withProcessor({}, async (processor) => {
      const truncated = (await solid(64, 64, 'red')).subarray(0, 60);
      await assert.rejects(
        processor.process(truncated, 'pictures[7]'),
        failsWith('INVALID_PICTURE', /^pictures\[7\] /),
      );
      await assert.rejects(
        processor.process(new Uint8Array(0), 'pictures[2]'),
        failsWith('INVALID_PICTURE', /^pictures\[2\] is empty/),
      );
      assert.equal((await processor.process(dot, 'after')).width, 1);
    });
  });

  it('works in order and at most `concurrency` at a time', async () => {
    await withProcessor({ workerUrl: MISBEHAVING, concurrency: 2 }, async (processor) => {
      // Both threads run before order is asked for: starting one can take longer than the slow picture.
      await Promise.all(['x', 'y'].map((label) => processor.process(dot, label)));
      const finished: string[] = [];
      const labels = ['slow', 'a', 'b', 'c', 'd'];
      await Promise.all(
        labels.map((label) =>
          processor.process(dot, label).then((picture) => finished.push(picture.contentHash)),
        ),
      );
      assert.deepEqual(
        finished.filter((label) => label !== 'slow'),
        ['a', 'b', 'c', 'd'],
      );
      assert.notEqual(finished[0], 'slow');
    });
    await withProcessor({ workerUrl: MISBEHAVING, concurrency: 1 }, async (processor) => {
      const finished: string[] = [];
      await Promise.all(
        ['slow', 'a', 'b'].map((label) => processor.process(dot, label).then(() => finished.push(label))),
      );
      assert.deepEqual(finished, ['slow', 'a', 'b']);
    });
  });

  for (const label of ['throw', 'exit', 'exhaust']) {
    it(`loses only the picture when a worker ends by ${label}`, async function () {
      this.timeout(30_000);
      await withProcessor({ workerUrl: MISBEHAVING }, async (processor) => {
        const waiting = processor.process(dot, 'first');
        const lost = processor.process(dot, label);
        const next = processor.process(dot, 'next');
        assert.equal((await waiting).contentHash, 'first');
        await assert.rejects(lost, failsWith('INTERNAL', /^A picture worker (failed|ended)/));
        assert.equal((await next).contentHash, 'next');
      });
    });
  }

  it('gives up on a picture that takes too long', async () => {
    await withProcessor({ workerUrl: MISBEHAVING, timeoutMs: 300 }, async (processor) => {
      const lost = processor.process(dot, 'hang');
      const next = processor.process(dot, 'next');
      await assert.rejects(lost, failsWith('INVALID_PICTURE', /^hang took longer than 300 ms/));
      assert.equal((await next).contentHash, 'next');
    });
  });

  it('bounds its queue', async () => {
    await withProcessor({ workerUrl: MISBEHAVING }, async (processor) => {
      const all = Array.from({ length: MAX_QUEUED_PICTURES + 2 }, (_, i) =>
        processor.process(dot, i === 0 ? 'slow' : 'x'),
      );
      await assert.rejects(all.pop()!, failsWith('QUEUE_FULL', /pictures wait already/));
      void Promise.allSettled(all);
    });
  });

  it('refuses what waits and what comes once closed; closing twice is harmless', async () => {
    const processor = createPictureProcessor({
      tiling: TILING,
      exifRotation: true,
      concurrency: 1,
      workerUrl: MISBEHAVING,
    });
    const running = processor.process(dot, 'slow');
    const waiting = processor.process(dot, 'waiting');
    const outcomes = Promise.allSettled([running, waiting]);
    await processor.close();
    for (const outcome of await outcomes) {
      assert.equal(outcome.status, 'rejected');
      failsWith('DRAINING', /closed/)(outcome.reason);
    }
    await assert.rejects(processor.process(dot, 'late'), failsWith('DRAINING', /^late /));
    await processor.close();
  });

  it('refuses a concurrency that cannot be', () => {
    assert.throws(
      () => createPictureProcessor({ tiling: TILING, exifRotation: true, concurrency: 0 }),
      failsWith('INVALID_REQUEST', /concurrency is 0/),
    );
  });
});
