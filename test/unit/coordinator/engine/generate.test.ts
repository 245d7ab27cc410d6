// A request read as a stream: messages that fit however slow the reader is, and a reader that leaves.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import { inferenceServiceDefinition } from '../../../../common/proto.js';
import type { Engine } from '../../../../coordinator/engine/engine.js';
import { generate, generateWhole } from '../../../../coordinator/engine/generate.js';
import { toGenerateResponse } from '../../../../coordinator/gateway/inference-messages.js';
import type { RequestSink } from '../../../../coordinator/requests/generation.js';
import type { RequestSpec } from '../../../../coordinator/requests/request-spec.js';

const SPEC: RequestSpec = {
  requestId: 'test',
  prompt: { kind: 'tokens', tokenIds: Uint32Array.of(1), pictures: [] },
  sampling: {},
};
/** What gRPC clients accept unless they say otherwise. */
const CLIENT_LIMIT_BYTES = 4 * 1024 * 1024;

function setUp() {
  const given: RequestSink[] = [];
  const cancels: string[] = [];
  const pauses: boolean[] = [];
  const engine = {
    submit: (_spec: RequestSpec, sink: RequestSink) => {
      given.push(sink);
      return {
        cancel: (error: AppError) => cancels.push(`${error.code}: ${error.message}`),
        setPaused: (isPaused: boolean) => pauses.push(isPaused),
      };
    },
  } as unknown as Engine;
  const controller = new AbortController();
  const generation = generate(engine, SPEC, controller.signal);
  return { generation, controller, cancels, pauses, sink: given[0]! };
}

describe('a request as a stream', () => {
  it('comes in messages that clients accept, though nothing was read until its end', async () => {
    const { generation, sink } = setUp();
    const numTokens = 20_000;
    const topIds = Uint32Array.from({ length: 20 }, (_, index) => 150_000 + index);
    const topLogprobs = new Float32Array(20).fill(-1.5);
    sink.onPrompt(Uint32Array.of(1));
    for (let index = 0; index < numTokens; index += 1) {
      sink.onDelta({
        reasoning: '',
        answer: 'ß',
        toolCalls: [],
        tokenIds: [index],
        logprobs: [{ logprob: -0.5, topIds, topLogprobs }],
        end: null,
      });
    }
    sink.onDelta({ reasoning: '', answer: '', toolCalls: [], tokenIds: [], logprobs: [], end: null });
    sink.onFailure(new AppError('WORKER_LOST', 'at last'));
    const sizes: number[] = [];
    const tokenIds: number[] = [];
    let answer = '';
    await assert.rejects(async () => {
      for await (const delta of generation.deltas) {
        const message = toGenerateResponse({ requestId: 'test', delta, promptTokenIds: null, index: 0 });
        sizes.push(inferenceServiceDefinition.Generate.responseSerialize(message).byteLength);
        tokenIds.push(...delta.tokenIds);
        answer += delta.answer;
      }
    }, /at last/);
    assert.ok(Math.max(...sizes) < CLIENT_LIMIT_BYTES, `a message of ${Math.max(...sizes)} bytes`);
    assert.ok(sizes.length < 100, `${sizes.length} messages`);
    assert.deepEqual(
      tokenIds,
      Array.from({ length: numTokens }, (_, index) => index),
    );
    assert.equal(answer, 'ß'.repeat(numTokens));
  });

  it('is cancelled by its signal with the signal’s reason, and by a reader that leaves', async () => {
    const aborted = setUp();
    aborted.controller.abort(new AppError('CANCELLED', 'the client left'));
    assert.deepEqual(aborted.cancels, ['CANCELLED: the client left']);
    const left = setUp();
    left.sink.onDelta({ reasoning: '', answer: 'a', toolCalls: [], tokenIds: [1], logprobs: [], end: null });
    for await (const delta of left.generation.deltas) {
      assert.equal(delta.answer, 'a');
      break;
    }
    assert.deepEqual(left.cancels, ['CANCELLED: the reader left']);
  });
});

describe('a request as its whole answer', () => {
  const END = {
    finishReason: 'length' as const,
    text: 'ab',
    usage: { promptTokens: 1, completionTokens: 2, cachedTokens: 0, pictureTiles: 0 },
    timings: {
      queueMs: 0,
      ttftMs: 0,
      tpotMs: 0,
      totalMs: 0,
      encodeMs: 1,
      prefillMs: 1,
      decodeMs: 2,
      ranks: [],
    },
  };

  function setUpWhole(behave: (sink: RequestSink) => void = () => undefined) {
    const given: RequestSink[] = [];
    const cancels: string[] = [];
    const engine = {
      submit: (_spec: RequestSpec, sink: RequestSink) => {
        given.push(sink);
        behave(sink);
        return {
          cancel: (error: AppError) => {
            cancels.push(error.code);
            sink.onFailure(error);
          },
        };
      },
    } as unknown as Engine;
    const controller = new AbortController();
    return { answer: generateWhole(engine, SPEC, controller.signal), controller, cancels, sink: given[0]! };
  }

  it('comes with everything that was produced', async () => {
    const { answer, sink, controller, cancels } = setUpWhole();
    sink.onPrompt(Uint32Array.of(7));
    sink.onDelta({ reasoning: 'r', answer: 'a', toolCalls: [], tokenIds: [1], logprobs: [], end: null });
    sink.onDelta({ reasoning: '', answer: 'b', toolCalls: [], tokenIds: [2], logprobs: [], end: END });
    controller.abort(new AppError('CANCELLED', 'too late'));
    const promptTokenIds = Uint32Array.of(7);
    const whole = { reasoning: 'r', answer: 'ab', toolCalls: [], tokenIds: [1, 2], logprobs: [], end: END };
    assert.deepEqual(await answer, { ...whole, requestId: 'test', promptTokenIds });
    assert.deepEqual(cancels, []);
  });

  it('fails as the request does, at once or later', async () => {
    const full = new AppError('QUEUE_FULL', 'full');
    await assert.rejects(setUpWhole((sink) => sink.onFailure(full)).answer, full);
    const { answer, sink } = setUpWhole();
    sink.onDelta({ reasoning: '', answer: 'a', toolCalls: [], tokenIds: [1], logprobs: [], end: null });
    sink.onFailure(new AppError('WORKER_LOST', 'gone'));
    await assert.rejects(answer, { code: 'WORKER_LOST' });
  });

  it('ends the request when the client leaves', async () => {
    const { answer, controller, cancels } = setUpWhole();
    controller.abort(new AppError('CANCELLED', 'left'));
    await assert.rejects(answer, { code: 'CANCELLED', message: 'left' });
    assert.deepEqual(cancels, ['CANCELLED']);
  });
});
