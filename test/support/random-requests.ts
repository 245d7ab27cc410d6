// Requests drawn by fast-check, over both APIs: odd in one thing or another, or sound; and which endings are a server's
// fault.
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';

/** A server's fault, or what gRPC says where a server says nothing. */
export const GRPC_FAULTS: ReadonlySet<grpc.status> = new Set([
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
/** What Generate may be asked: mostly odd, some sound. */
export const anyGrpcRequest = fc.oneof({ weight: 15, arbitrary: odd }, { weight: 1, arbitrary: sound });

export interface HttpRequest {
  readonly path: string;
  readonly body: unknown;
}

/** What JSON holds, where something else is expected. */
const anything = fc.jsonValue({ maxDepth: 2 });

/** A field as it should be, or hardly ever something else. */
const mostly = (arbitrary: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 12, arbitrary }, { weight: 1, arbitrary: anything });

const httpSampling = {
  max_tokens: mostly(fc.integer({ min: 1, max: 12 })),
  temperature: mostly(fc.constantFrom(0, 0.7, 1)),
  top_p: mostly(fc.constantFrom(0.5, 1)),
  top_k: mostly(fc.integer({ min: -1, max: 20 })),
  seed: mostly(fc.nat()),
  n: mostly(fc.constantFrom(1, 1, 2)),
  stop: mostly(fc.oneof(text, fc.array(text, { maxLength: 4 }))),
  stream: mostly(fc.boolean()),
  stream_options: mostly(fc.record({ include_usage: fc.boolean() })),
  logit_bias: mostly(
    fc.dictionary(fc.constantFrom('5', '99', '100000', 'x'), fc.integer({ min: -101, max: 101 })),
  ),
  ignore_eos: mostly(fc.boolean()),
  frequency_penalty: mostly(fc.constantFrom(0, 1, 3)),
  model: fc.oneof({ weight: 15, arbitrary: fc.constant('tiny-6b-vit') }, { weight: 1, arbitrary: text }),
  response_format: fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: anything },
  ),
};
const imageUrl = fc.oneof(
  picture.map(({ data }) => `data:image/png;base64,${data.toString('base64')}`),
  fc.constantFrom('data:,', 'http://127.0.0.1:1/x.png', 'file:///etc/passwd', ''),
);
const part = fc.oneof(
  fc.record({ type: fc.constant('text'), text }),
  fc.record({ type: fc.constant('image_url'), image_url: fc.record({ url: imageUrl }) }),
  anything,
);
const httpMessage = fc.record({
  role: fc.oneof(fc.constantFrom('user', 'system', 'assistant', 'tool'), text),
  content: mostly(fc.oneof(text, fc.array(part, { maxLength: 3 }))),
});
const chat = fc.record(
  {
    ...httpSampling,
    messages: mostly(fc.array(httpMessage, { maxLength: 4 })),
    logprobs: mostly(fc.boolean()),
    top_logprobs: mostly(fc.nat(25)),
  },
  { requiredKeys: ['messages', 'max_tokens'] },
);
const ids = fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 40 });
const completion = fc.record(
  {
    ...httpSampling,
    prompt: mostly(fc.oneof(text, ids, fc.array(text, { maxLength: 3 }))),
    logprobs: mostly(fc.nat(6)),
  },
  { requiredKeys: ['prompt', 'max_tokens'] },
);
const soundChat = fc.record({
  messages: fc.constant([{ role: 'user', content: 'why?' }]),
  max_tokens: fc.integer({ min: 1, max: 12 }),
  stream: fc.boolean(),
});

/** What OpenAI's endpoints may be asked: mostly odd, some sound. */
export const anyHttpRequest: fc.Arbitrary<HttpRequest> = fc.oneof(
  { weight: 8, arbitrary: chat.map((body) => ({ path: '/v1/chat/completions', body })) },
  { weight: 8, arbitrary: completion.map((body) => ({ path: '/v1/completions', body })) },
  { weight: 3, arbitrary: soundChat.map((body) => ({ path: '/v1/chat/completions', body })) },
  { weight: 1, arbitrary: anything.map((body) => ({ path: '/v1/chat/completions', body })) },
  { weight: 1, arbitrary: completion.map((body) => ({ path: '/tokenize', body })) },
);
