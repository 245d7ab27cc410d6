// Goal: whatever a client sends, it gets an answer or an error that is its own: never INTERNAL or UNKNOWN. Nothing of
// it stays behind, and a stream beside it gets the tokens that it gets alone. Requests are drawn by fast-check; a
// failure names the seed and a small case.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import { useGrpcService } from '../support/grpc-service.js';

const NUM_RUNS = 150;
const NUM_BYTE_RUNS = 120;
/** In flight together, so that they meet in steps. */
const BATCH = 8;
const NEIGHBOUR_TOKENS = 400;
const METHOD = '/skein.inference.v1.InferenceService/Generate';

/** A server's fault, or what gRPC says where a server says nothing. */
const FAULTS: ReadonlySet<grpc.status> = new Set([
  grpc.status.INTERNAL,
  grpc.status.UNKNOWN,
  grpc.status.DATA_LOSS,
  grpc.status.UNAVAILABLE,
  grpc.status.ABORTED,
]);

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const uint32 = fc.oneof(fc.nat(30), fc.integer({ min: 0, max: 0xffff_ffff }));
const float = fc.oneof(
  fc.constantFrom(0, 0.5, 1, 1.5, -1, NaN, Infinity, -Infinity, -0, 1e-45, 3.4e38),
  fc.float(),
);
const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '\0', '\ud800', '<|im_start|>', '<image>', '</think>', '<IMG_CONTEXT>', 'é́', '🪿'),
);
const picture = fc.record({ data: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)) });
const sampling = fc.record(
  {
    ...{ temperature: float, topK: uint32, topP: float, minP: float, repetitionPenalty: float },
    ...{
      presencePenalty: float,
      frequencyPenalty: float,
      seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
    },
    ...{ maxTokens: uint32, minTokens: uint32, ignoreEos: fc.boolean(), topLogprobs: uint32 },
    stop: fc.array(text, { maxLength: 20 }),
    stopTokenIds: fc.array(uint32, { maxLength: 8 }),
    logitBias: fc.array(fc.record({ tokenId: uint32, bias: float }), { maxLength: 8 }),
    skipSpecialTokens: fc.boolean(),
  },
  { requiredKeys: [] },
);
/** Mostly what could be answered, with one thing or another odd about it. */
const mild = fc.record(
  {
    temperature: fc.constantFrom(0, 0.7),
    maxTokens: fc.integer({ min: 1, max: 12 }),
    topLogprobs: fc.nat(3),
    stop: fc.array(fc.constantFrom('a', 'bc'), { maxLength: 2 }),
  },
  { requiredKeys: ['maxTokens'] },
);
const message = fc.record({
  role: fc.oneof(fc.constantFrom('user', 'system', 'assistant'), text),
  content: fc.array(fc.oneof(fc.record({ text }), fc.record({ picture }), fc.constant({})), { maxLength: 3 }),
});
/** Nothing is wrong with these: some are to be answered. */
const sound: fc.Arbitrary<GenerateRequest> = fc.record({
  promptTokenIds: fc.array(fc.integer({ min: 4, max: 30 }), { minLength: 1, maxLength: 40 }),
  sampling: fc.record({ temperature: fc.constantFrom(0, 0.7), maxTokens: fc.integer({ min: 1, max: 12 }) }),
});
const odd: fc.Arbitrary<GenerateRequest> = fc
  .record(
    {
      requestId: text,
      model: fc.oneof({ weight: 9, arbitrary: fc.constant('') }, { weight: 1, arbitrary: text }),
      messages: optional(fc.array(message, { maxLength: 4 })),
      text: optional(text),
      pictures: optional(fc.array(picture, { maxLength: 3 })),
      promptTokenIds: optional(fc.array(uint32, { maxLength: 40 })),
      sampling: fc.oneof(mild, sampling),
    },
    { requiredKeys: ['sampling'] },
  )
  .map((drawn) => drawn as GenerateRequest);
const request = fc.oneof({ weight: 15, arbitrary: odd }, { weight: 1, arbitrary: sound });

describe('the gRPC service under any request', function () {
  this.timeout(180_000);
  const service = useGrpcService({ worldSize: 2, engine: { stepMs: 1 }, config: { maxNumSequences: 6 } });

  interface Ending {
    readonly tokens: readonly number[];
    readonly status: grpc.StatusObject;
  }

  function generate(asked: GenerateRequest, leavesAfter = Infinity): Promise<Ending> {
    return ending(service.client.generate(asked), leavesAfter);
  }

  function ending(call: grpc.ClientReadableStream<unknown>, leavesAfter = Infinity): Promise<Ending> {
    const tokens: number[] = [];
    return new Promise((resolve) => {
      call.on('data', (each) => {
        tokens.push(...(each as GenerateResponse__Output).tokenIds);
        if (tokens.length >= leavesAfter) call.cancel();
      });
      call.on('error', () => undefined);
      call.on('status', (status) => resolve({ tokens, status }));
    });
  }

  const neighbour = (maxTokens: number) =>
    generate({ promptTokenIds: [7, 8, 9], sampling: { maxTokens, ignoreEos: true, temperature: 0 } });

  async function nothingIsLeft(): Promise<void> {
    await service.idle();
    assert.equal(service.cluster.serving.cluster().state, 'ready');
  }

  function checkOwn({ status }: Ending, asked: unknown): void {
    assert.ok(
      !FAULTS.has(status.code),
      `${grpc.status[status.code]} (${status.metadata.get(ERROR_CODE_KEY).join()}): ${status.details}; asked: ${JSON.stringify(asked)}`,
    );
  }

  it(`answers ${NUM_RUNS} batches of ${BATCH}, and leaves their neighbour alone`, async () => {
    const expected = await neighbour(NEIGHBOUR_TOKENS);
    assert.equal(expected.tokens.length, NEIGHBOUR_TOKENS);
    let beside = neighbour(NEIGHBOUR_TOKENS);
    const seen = new Map<grpc.status, number>();
    const leaves = fc.option(fc.integer({ min: 0, max: 3 }), { nil: Infinity, freq: 8 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(request, leaves), { minLength: BATCH, maxLength: BATCH }),
        async (batch) => {
          const endings = await Promise.all(batch.map(([asked, after]) => generate(asked, after)));
          for (const [index, each] of endings.entries()) {
            checkOwn(each, batch[index]![0]);
            seen.set(each.status.code, (seen.get(each.status.code) ?? 0) + 1);
          }
          const done = await Promise.race([beside, Promise.resolve(null)]);
          if (done === null) return;
          assert.deepEqual(done.tokens, expected.tokens);
          beside = neighbour(NEIGHBOUR_TOKENS);
        },
      ),
      { numRuns: NUM_RUNS, endOnFailure: false },
    );
    assert.deepEqual((await beside).tokens, expected.tokens);
    await nothingIsLeft();
    // It has met both sides of the gate.
    for (const code of [
      grpc.status.OK,
      grpc.status.INVALID_ARGUMENT,
      grpc.status.NOT_FOUND,
      grpc.status.CANCELLED,
    ])
      assert.ok((seen.get(code) ?? 0) >= 10, `${grpc.status[code]}: ${seen.get(code) ?? 0}`);
  });

  it(`answers ${NUM_BYTE_RUNS} messages that are no requests, or hardly`, async () => {
    const serialize = (bytes: Buffer): Buffer => bytes;
    const valid = request.map((asked) => inferenceServiceDefinition.Generate.requestSerialize(asked));
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each)),
      fc.tuple(valid, fc.nat(), fc.nat(255)).map(([whole, at, byte]) => {
        const changed = Buffer.from(whole);
        if (changed.length > 0) changed[at % changed.length] = byte;
        return changed;
      }),
      fc.tuple(valid, fc.nat()).map(([whole, at]) => whole.subarray(0, at % (whole.length + 1))),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (sent) => {
        const call = service.client.makeServerStreamRequest(METHOD, serialize, (each: Buffer) => each, sent);
        const status = await new Promise<grpc.StatusObject>((resolve) => {
          call.on('data', () => undefined);
          call.on('error', () => undefined);
          call.on('status', resolve);
        });
        checkOwn({ tokens: [], status }, sent.toString('hex'));
      }),
      { numRuns: NUM_BYTE_RUNS },
    );
    await nothingIsLeft();
  });
});
