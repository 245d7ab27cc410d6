// Pixels within their budget: shared where they are equal, let go of once they have travelled, made again when they are
// needed again.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { AppError } from '../../../../common/errors.js';
import { PictureStore } from '../../../../coordinator/encoding/picture-store.js';
import type { PictureInput } from '../../../../coordinator/requests/request-spec.js';

const BYTES = 100;

/** The first byte of the encoded picture is its content. */
function setUp(budgetBytes: number, maxKnown = 0) {
  const decoded: string[] = [];
  let numNow = 0;
  let mostAtOnce = 0;
  const store = new PictureStore({
    budgetBytes,
    maxKnown,
    decode: async ({ data, label }, signal) => {
      if (signal.aborted) throw new AppError('CANCELLED', 'left');
      decoded.push(label);
      numNow += 1;
      mostAtOnce = Math.max(mostAtOnce, numNow);
      await new Promise((resolve) => setImmediate(resolve));
      numNow -= 1;
      if (data[0] === 255) throw new AppError('INVALID_PICTURE', `${label} is broken`);
      const tiles = new Uint8Array(BYTES).fill(data[0]!);
      const contentHash = createHash('sha256').update(data).digest('base64');
      const size = { width: 1, height: 1, numTiles: 1, tileSize: 1 };
      return { contentHash, ...size, tiles };
    },
  });
  const add = (contents: readonly number[], signal = new AbortController().signal, client = '') => {
    const inputs = contents.map((content, index): PictureInput => ({
      data: Uint8Array.of(content),
      label: `pictures[${index}] ${content}`,
    }));
    return store.add(inputs, contents.length * BYTES, signal, { client, priority: 0 });
  };
  return { store, add, decoded, most: () => mostAtOnce };
}

describe('the store of pictures', () => {
  it('keeps equal pixels once, for as long as anybody refers to them', async () => {
    const { store, add } = setUp(1000);
    const [one, two] = await Promise.all([add([7, 7]), add([7, 8])]);
    assert.deepEqual([store.numPictures, store.numBytes], [2, 2 * BYTES]);
    for (const picture of one) picture.release();
    assert.deepEqual([store.numPictures, store.numBytes], [2, 2 * BYTES]);
    for (const picture of two) picture.release();
    // Again: releasing is idempotent.
    for (const picture of two) picture.release();
    assert.deepEqual([store.numPictures, store.numBytes], [0, 0]);
  });

  it('lets go of pixels once they have travelled, and makes them again for a sequence that needs them again', async () => {
    const { store, add, decoded } = setUp(1000);
    const [picture] = await add([7]);
    const lease = await picture!.lease();
    assert.deepEqual([...lease.pixels.subarray(0, 2)], [7, 7]);
    assert.equal(store.numBytes, BYTES);
    lease.release();
    lease.release();
    assert.equal(store.numBytes, 0);
    const again = await picture!.lease();
    assert.deepEqual([decoded.length, again.pixels[0], store.numBytes], [2, 7, BYTES]);
    again.release();
    picture!.release();
    assert.equal(store.numBytes, 0);
  });

  it('decodes nothing that the budget has no room for, in their order, and no request by halves', async () => {
    const { store, add, decoded } = setUp(3 * BYTES);
    const first = await add([1, 2]);
    const order: string[] = [];
    const second = add([3, 4]).then((pictures) => (order.push('second'), pictures));
    const third = add([5]).then((pictures) => (order.push('third'), pictures));
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual([decoded.length, order], [2, []]);
    first[0]!.release();
    await second;
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual([order, store.numBytes], [['second'], 3 * BYTES]);
    first[1]!.release();
    await third;
    assert.equal(store.numBytes, 3 * BYTES);
  });

  it('has a client that comes wait for one request of another that has sent many, and no longer', async () => {
    const { store, add } = setUp(BYTES);
    const order: string[] = [];
    const ask = async (client: string, name: string, content: number): Promise<void> => {
      const pictures = await add([content], undefined, client);
      order.push(name);
      for (const picture of pictures) picture.release();
    };
    const flood = Array.from({ length: 20 }, (_, index) => ask('a', `a${index}`, index));
    await Promise.all([...flood, ask('b', 'b0', 100), ask('b', 'b1', 101)]);
    assert.deepEqual(order.slice(0, 5), ['a0', 'a1', 'b0', 'a2', 'b1']);
    assert.equal(store.numBytes, 0);
  });

  it('lets a picture larger than the whole budget through, alone', async () => {
    const { add } = setUp(BYTES / 2);
    const [picture] = await add([1]);
    const waiting = add([2]);
    picture!.release();
    assert.equal((await waiting).length, 1);
  });

  it('gives back what a request that left, or a broken picture, had reserved', async () => {
    const { store, add, decoded } = setUp(2 * BYTES);
    const [held] = await add([1]);
    const leaver = new AbortController();
    const left = add([2, 3], leaver.signal);
    const next = add([4]);
    leaver.abort();
    await assert.rejects(left, { code: 'CANCELLED' });
    const [fourth] = await next;
    assert.deepEqual(decoded.length, 2);
    held!.release();
    fourth!.release();
    await assert.rejects(add([5, 255]), { code: 'INVALID_PICTURE' });
    assert.deepEqual([store.numBytes, store.numPictures], [0, 0]);
  });

  it('does not decode an encoded file that it knows until its pixels must travel', async () => {
    const { store, add, decoded } = setUp(1000, 8);
    const [first] = await add([7]);
    (await first!.lease()).release();
    const [again, other] = await add([7, 8]);
    assert.deepEqual([decoded.length, store.numBytes, again!.numBytes], [2, BYTES, BYTES]);
    assert.equal(again!.contentHash, first!.contentHash);
    other!.release();
    const lease = await again!.lease();
    assert.deepEqual([decoded.length, lease.pixels[0], store.numBytes], [3, 7, BYTES]);
    lease.release();
    assert.deepEqual([store.numBytes, store.numPictures], [0, 0]);
  });

  it('knows no more files than its bound, and none that is broken', async () => {
    const { add, decoded } = setUp(1000, 2);
    for (const content of [1, 2, 3]) for (const picture of await add([content])) picture.release();
    await add([2, 3]);
    assert.equal(decoded.length, 3);
    await add([1]);
    assert.equal(decoded.length, 4);
    for (let time = 0; time < 2; time += 1) await assert.rejects(add([255]), { code: 'INVALID_PICTURE' });
    assert.equal(decoded.length, 6);
  });

  it('waits for no room where everything is known', async () => {
    const { add } = setUp(BYTES, 2);
    const [held] = await add([1]);
    const [known] = await add([1]);
    assert.equal(known!.contentHash, held!.contentHash);
  });

  it('holds nothing in the end, whatever came and went', async () => {
    const request = fc.record({
      contents: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 4 }),
      leases: fc.integer({ min: 0, max: 2 }),
      leaves: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 8 }), fc.nat(3), async (requests, maxKnown) => {
        const { store, add } = setUp(4 * BYTES, maxKnown);
        await Promise.all(
          requests.map(async ({ contents, leases, leaves }) => {
            const controller = new AbortController();
            if (leaves) setImmediate(() => controller.abort());
            const pictures = await add(contents, controller.signal).catch(() => []);
            assert.ok(store.numBytes <= 8 * BYTES);
            for (let lease = 0; lease < leases; lease += 1)
              for (const picture of pictures) (await picture.lease().catch(() => null))?.release();
            for (const picture of pictures) picture.release();
          }),
        );
        assert.deepEqual([store.numBytes, store.numPictures], [0, 0]);
      }),
      { numRuns: 50 },
    );
  });
});
