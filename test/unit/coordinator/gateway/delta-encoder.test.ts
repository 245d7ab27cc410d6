// Deltas as bytes: those that are written by hand are the general encoder's, byte by byte in what they mean.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { inferenceServiceDefinition } from '../../../../common/proto.js';
import { DeltaEncoder } from '../../../../coordinator/gateway/delta-encoder.js';
import { toGenerateResponse } from '../../../../coordinator/gateway/inference-messages.js';
import { emptyDelta, type GenerationDelta } from '../../../../coordinator/requests/generation.js';

const { responseSerialize, responseDeserialize } = inferenceServiceDefinition.Generate;

function assertSame(requestId: string, delta: GenerationDelta, promptTokenIds: Uint32Array | null): void {
  for (const index of [0, 1, 127, 128]) {
    const encoded = new DeltaEncoder(requestId, index).encode(delta, promptTokenIds);
    const general = responseSerialize(toGenerateResponse({ requestId, delta, promptTokenIds, index }));
    assert.deepEqual(responseDeserialize(encoded), responseDeserialize(general));
  }
}

describe('deltas as bytes', () => {
  it('mean what the general encoder writes, for any text and any ids', () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.constant(''));
    const ids = fc.array(fc.oneof(fc.nat(200), fc.nat(2 ** 22), fc.constantFrom(2 ** 28, 2 ** 32 - 1)));
    fc.assert(
      fc.property(fc.string(), text, text, ids, (requestId, reasoning, answer, tokenIds) => {
        assertSame(requestId, { ...emptyDelta(), reasoning, answer, tokenIds }, null);
      }),
    );
  });

  it('are the general encoder’s where there is more than text and ids', () => {
    const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 0, pictureTiles: 0 };
    const timings = {
      queueMs: 1,
      ttftMs: 2,
      tpotMs: 3,
      totalMs: 4,
      encodeMs: 1,
      prefillMs: 1,
      decodeMs: 2,
      ranks: [],
    };
    const end = { finishReason: 'stop' as const, text: 'ab', usage, timings };
    const logprobs = [{ logprob: -1, topIds: Uint32Array.of(5), topLogprobs: Float32Array.of(-1) }];
    const toolCalls = [{ index: 0, id: 'call_1', name: 'f', arguments: '{}' }];
    const plain = { ...emptyDelta(), answer: 'b', tokenIds: [5] };
    assertSame('r', { ...plain, end }, null);
    assertSame('r', { ...plain, logprobs }, null);
    assertSame('r', { ...plain, toolCalls }, null);
    assertSame('r', plain, Uint32Array.of(1, 2, 3));
  });
});
