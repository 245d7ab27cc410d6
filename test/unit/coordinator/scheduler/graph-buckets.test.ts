// Which decode steps run as recorded graphs, and how far they are padded.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { chooseGraphBucket, makeGraphBuckets } from '../../../../coordinator/scheduler/graph-buckets.js';
import { SchedulerDriver, SMALL_CONFIG } from '../../../support/scheduler-driver.js';

const decode = (numSequences: number) => ({
  encodeItems: [],
  scheduledTokens: Array.from({ length: numSequences }, () => 1),
});

describe('graph buckets', () => {
  it('end at the most sequences that run at once', () => {
    assert.deepEqual(makeGraphBuckets(1), [1]);
    assert.deepEqual(makeGraphBuckets(16), [1, 2, 4, 8, 16]);
    assert.deepEqual(makeGraphBuckets(20), [1, 2, 4, 8, 16, 20]);
    assert.deepEqual(makeGraphBuckets(4096).slice(-2), [192, 256]);
  });

  it('are few, ascend, and take every decode up to 256 sequences with less than as many rows again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 1, max: 4096 }), (most, count) => {
        const buckets = makeGraphBuckets(most);
        assert.ok(buckets.length <= 13);
        assert.ok(buckets.every((bucket, index) => index === 0 || bucket > buckets[index - 1]!));
        const numSequences = Math.min(count, most);
        const bucket = chooseGraphBucket(buckets, decode(numSequences));
        if (numSequences > 256) assert.equal(bucket, 0);
        else assert.ok(bucket >= numSequences && bucket < 2 * numSequences && bucket <= most);
      }),
    );
  });

  it('take no step of several tokens a sequence, of none, or with pictures to encode', () => {
    const buckets = makeGraphBuckets(16);
    assert.equal(chooseGraphBucket(buckets, { encodeItems: [], scheduledTokens: [1, 2] }), 0);
    assert.equal(chooseGraphBucket(buckets, { encodeItems: [], scheduledTokens: [] }), 0);
    const encodeItems = [{ pictureId: 1, tileStart: 0, tileEnd: 1 }];
    assert.equal(chooseGraphBucket(buckets, { encodeItems, scheduledTokens: [1] }), 0);
    assert.equal(chooseGraphBucket([], decode(3)), 0);
  });

  it('are chosen by the scheduler: prefills eagerly, decodes in the next bucket', () => {
    const driver = new SchedulerDriver({ ...SMALL_CONFIG, graphBuckets: [1, 2, 4], maxPlansInFlight: 1 });
    for (const sequenceId of ['a', 'b', 'c']) driver.submit({ sequenceId, numPromptTokens: 2, maxTokens: 3 });
    // One token is all there is to prefill: no different from a decode.
    driver.submit({ sequenceId: 'd', numPromptTokens: 1, maxTokens: 2 });
    const buckets: number[] = [];
    for (let plan = driver.schedule(); plan !== null; plan = driver.schedule()) {
      buckets.push(plan.graphBucket);
      driver.complete();
    }
    assert.deepEqual(buckets, [0, 4, 4]);
    driver.submit({ sequenceId: 'e', numPromptTokens: 1, maxTokens: 1 });
    assert.equal(driver.schedule()?.graphBucket, 1);
  });
});
