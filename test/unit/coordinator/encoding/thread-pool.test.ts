// The threads that encode: real tasks, and threads that die or hang, which costs them and nobody else.
import assert from 'node:assert/strict';
import sharp from 'sharp';
import { systemClock } from '../../../../common/clock.js';
import { EncodingQueue } from '../../../../coordinator/encoding/encoding-queue.js';
import { ThreadPool } from '../../../../coordinator/encoding/thread-pool.js';
import { loadTextProcessor } from '../../../../coordinator/tokenizer/load-text-processor.js';
import type { ChatMessage } from '../../../../coordinator/tokenizer/text-processor.js';
import type { PictureSettings } from '../../../../coordinator/vision/picture.js';
import { processPicture } from '../../../../coordinator/vision/process-picture.js';
import { repoPath } from '../../../support/paths.js';

const TEXT = { folder: repoPath('models', 'r1v-nano'), eosTokenIds: [], tokensPerTile: 64 };
const PICTURES: PictureSettings = {
  tiling: { tileSize: 28, minTiles: 1, maxTiles: 4, useThumbnail: true, isDynamic: true, tokensPerTile: 1 },
  exifRotation: true,
};
const MISBEHAVING = new URL('./misbehaving-thread.js', import.meta.url);

describe('the threads that encode', function () {
  this.timeout(60_000);
  const signal = new AbortController().signal;
  const decode = (label: string, encoded: Uint8Array = new Uint8Array(1)) => ({
    kind: 'picture' as const,
    label,
    encoded,
  });

  describe('with their tasks', () => {
    let queue: EncodingQueue;
    before(() => {
      const threads = new ThreadPool({ numThreads: 2, settings: { text: TEXT, pictures: PICTURES } });
      queue = new EncodingQueue({ threads, clock: systemClock });
    });
    after(() => queue.close());

    it('encode a chat as the calling thread does', async () => {
      const messages: ChatMessage[] = [
        {
          role: 'user',
          parts: [
            { type: 'picture', numTiles: 2 },
            { type: 'text', text: 'What is <think>?' },
          ],
        },
      ];
      const here = (await loadTextProcessor(TEXT)).encodeChat(messages);
      assert.deepEqual(await queue.run({ kind: 'chat', messages }, signal), here);
    });

    it('decode a picture as the calling thread does, and leave its encoded bytes with the caller', async () => {
      const png = await sharp({ create: { width: 200, height: 100, channels: 3, background: '#102030' } })
        .png()
        .toBuffer();
      const message = Buffer.concat([Buffer.from('head'), png, Buffer.from('tail')]);
      const view = message.subarray(4, -4);
      assert.deepEqual(await queue.run(decode('a', view), signal), await processPicture(png, 'a', PICTURES));
      assert.equal(message.toString('latin1', 0, 4), 'head');
    });

    it('pass errors on with code, message and details', async () => {
      await assert.rejects(queue.run(decode('pictures[7]', Buffer.from('no picture')), signal), {
        code: 'INVALID_PICTURE',
        message: /^pictures\[7\] /,
      });
      await assert.rejects(queue.run({ kind: 'chat', messages: [] }, signal), { code: 'INVALID_REQUEST' });
    });
  });

  describe('that die or hang', () => {
    async function withQueue(
      timeoutMs: number,
      body: (queue: EncodingQueue) => Promise<void>,
    ): Promise<void> {
      const settings = { text: null, pictures: null };
      const threads = new ThreadPool({ numThreads: 1, settings, threadUrl: MISBEHAVING, maxHeapMb: 64 });
      const queue = new EncodingQueue({ threads, clock: systemClock, timeoutMs });
      try {
        await body(queue);
      } finally {
        await queue.close();
      }
    }

    for (const label of ['throw', 'exit', 'exhaust']) {
      it(`lose only the task that ended one by ${label}`, async () => {
        await withQueue(50_000, async (queue) => {
          const first = queue.run(decode('first'), signal);
          const lost = queue.run(decode(label), signal);
          const next = queue.run(decode('next'), signal);
          assert.equal((await first).contentHash, 'first');
          await assert.rejects(lost, { code: 'INTERNAL' });
          assert.equal((await next).contentHash, 'next');
        });
      });
    }

    it('are replaced when a task takes too long', async () => {
      await withQueue(5_000, async (queue) => {
        const lost = queue.run(decode('hang'), signal);
        const next = queue.run(decode('next'), signal);
        await assert.rejects(lost, { code: 'INVALID_PICTURE', message: /^hang took longer than 5000 ms/ });
        assert.equal((await next).contentHash, 'next');
      });
    });
  });
});
