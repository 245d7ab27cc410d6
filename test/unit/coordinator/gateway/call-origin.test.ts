// What is taken of a call's word about itself: a trace that is one, a key by its hash.
import assert from 'node:assert/strict';
import { originOfCall } from '../../../../coordinator/gateway/call-origin.js';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

const origin = (fields: Record<string, string>) => originOfCall('Generate', (name) => fields[name]);

describe('where a call comes from', () => {
  it('is nothing but its route where it says nothing', () => {
    const nothing = { route: 'Generate', apiKeyHash: null, traceparent: null, tracestate: null };
    assert.deepEqual(origin({}), nothing);
    assert.deepEqual(origin({ authorization: 'Bearer ', tracestate: 'a=b' }), nothing);
  });

  it('is its trace where that is one', () => {
    assert.deepEqual(
      [origin({ traceparent: PARENT, tracestate: 'a=b' })].map((each) => [each.traceparent, each.tracestate]),
      [[PARENT, 'a=b']],
    );
    // A later version may have more to say.
    assert.equal(
      origin({ traceparent: `01${PARENT.slice(2)}-more` }).traceparent,
      `01${PARENT.slice(2)}-more`,
    );
    for (const wrong of [
      'none',
      PARENT.toUpperCase(),
      PARENT.replace(/0af\w+c-/, `${'0'.repeat(32)}-`),
      PARENT.replace('b7ad6b7169203331', '0'.repeat(16)),
      `${PARENT}-${'a'.repeat(300)}`,
    ])
      assert.equal(origin({ traceparent: wrong, tracestate: 'a=b' }).traceparent, null, wrong);
    assert.equal(origin({ traceparent: PARENT, tracestate: 'a'.repeat(513) }).tracestate, null);
  });

  it('tells keys apart and gives none away', () => {
    const hashes = ['Bearer one', 'bearer one', 'one', 'Bearer two'].map((authorization) =>
      origin({ authorization }),
    );
    const [first, second, third, fourth] = hashes.map(({ apiKeyHash }) => apiKeyHash);
    assert.match(first!, /^[0-9a-f]{12}$/);
    assert.deepEqual([second, third], [first, first]);
    assert.notEqual(fourth, first);
  });
});
