// Goal: 64 streams at once over gRPC and HTTP, of texts, pictures, schemas and tools, some of which leave in the
// middle: each answer is that of the same request alone, and what a request that left had got is the beginning of its
// answer.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import type { ChatCompletionCreateParamsStreaming } from 'openai/resources/chat/completions.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { goldenPath } from '../support/paths.js';
import { ServedApis } from '../support/served-apis.js';

const MODEL = 'tiny-300m-vit';
const NUM_STREAMS = 64;
const SCHEMA = {
  type: 'object',
  properties: { kind: { enum: ['circle', 'square'] }, count: { type: 'integer', minimum: 0, maximum: 99 } },
  required: ['kind', 'count'],
  additionalProperties: false,
};

/** What a stream has given: text and calls by name and arguments. */
interface Answer {
  text: string;
  calls: string;
  reason: string;
}

interface Asked {
  readonly what: string;
  /** After so many pieces the client leaves; Infinity: it stays. */
  readonly leavesAfter: number;
  readonly ask: (leavesAfter: number) => Promise<Answer>;
}

describe('64 streams at once', function () {
  this.timeout(300_000);
  let served: ServedApis;
  let openai: ServedApis['openai'];
  let client: ServedApis['client'];
  const picture = readFileSync(goldenPath(MODEL, pictureName()));

  before(async () => {
    const model = ['--model', goldenPath(MODEL), '--tensor-parallel-size', '2', '--max-num-sequences', '24'];
    served = await ServedApis.start(model);
    ({ openai, client } = served);
  });
  after(() => served?.stop());

  async function overHttp(
    body: Omit<ChatCompletionCreateParamsStreaming, 'model' | 'stream'>,
    leavesAfter: number,
  ): Promise<Answer> {
    const answer: Answer = { text: '', calls: '', reason: '' };
    let numPieces = 0;
    const stream = await openai.chat.completions.create({ model: MODEL, stream: true, ...body });
    for await (const { choices } of stream) {
      const [choice] = choices;
      const delta = choice?.delta as { content?: string; reasoning_content?: string } | undefined;
      answer.text += (delta?.reasoning_content ?? '') + (delta?.content ?? '');
      for (const { function: called } of choice?.delta.tool_calls ?? [])
        answer.calls += `${called?.name ?? ''}${called?.arguments ?? ''}`;
      answer.reason = choice?.finish_reason ?? answer.reason;
      if ((numPieces += 1) > leavesAfter) break;
    }
    return answer;
  }

  function overGrpc(request: GenerateRequest, leavesAfter: number): Promise<Answer> {
    const answer: Answer = { text: '', calls: '', reason: '' };
    let numPieces = 0;
    return new Promise((resolve, reject) => {
      const call = client.generate(request);
      call.on('data', (message: GenerateResponse__Output) => {
        answer.text += message.reasoningDelta + message.answerDelta;
        for (const { name, arguments: more } of message.toolCalls) answer.calls += name + more;
        if (message.finishReason !== 'FINISH_REASON_UNSPECIFIED')
          answer.reason = message.finishReason.replace('FINISH_REASON_', '').toLowerCase();
        if ((numPieces += 1) > leavesAfter) call.cancel();
      });
      call.on('end', () => resolve(answer));
      call.on('error', (error: grpc.ServiceError) =>
        error.code === grpc.status.CANCELLED ? resolve(answer) : reject(error),
      );
    });
  }

  function makeStream(index: number): Asked {
    const kind = ['text', 'picture', 'schema', 'tool'][index % 4]!;
    const isHttp = index % 8 < 4;
    const seed = 1000 + index;
    const leavesAfter = index % 5 === 3 ? 3 : Infinity;
    const question = `What is it, number ${index % 12}?`;
    const what = `${kind} over ${isHttp ? 'HTTP' : 'gRPC'}, seed ${seed}`;
    const url = `data:image/png;base64,${picture.toString('base64')}`;
    const parameters = JSON.stringify(SCHEMA);
    const limit = kind === 'text' || kind === 'picture' ? 30 : 400;
    const http = {
      messages: [
        {
          role: 'user' as const,
          content: [
            ...(kind === 'picture' ? [{ type: 'image_url' as const, image_url: { url } }] : []),
            { type: 'text' as const, text: question },
          ],
        },
      ],
      ...{ seed, temperature: 0.8, max_completion_tokens: limit },
      ...(kind === 'schema' && {
        response_format: {
          type: 'json_schema' as const,
          json_schema: { name: 'it', schema: SCHEMA, strict: true },
        },
      }),
      ...(kind === 'tool' && {
        tools: [{ type: 'function' as const, function: { name: 'draw', parameters: SCHEMA, strict: true } }],
        tool_choice: { type: 'function' as const, function: { name: 'draw' } },
      }),
    };
    const request: GenerateRequest = {
      text: question,
      pictures: kind === 'picture' ? [{ data: picture }] : [],
      sampling: { seed: String(seed), temperature: 0.8, maxTokens: limit },
      ...(kind === 'schema' && { responseFormat: { jsonSchema: { schemaJson: parameters, strict: true } } }),
      ...(kind === 'tool' && {
        tools: [{ name: 'draw', parametersJson: parameters, strict: true }],
        toolChoice: { name: 'draw' },
      }),
    };
    const ask = (after: number): Promise<Answer> =>
      isHttp ? overHttp(http, after) : overGrpc(request, after);
    return { what, leavesAfter, ask };
  }

  it('are answered as each alone', async () => {
    const streams = Array.from({ length: NUM_STREAMS }, (_, index) => makeStream(index));
    const together = await Promise.all(streams.map(({ ask, leavesAfter }) => ask(leavesAfter)));
    for (const [index, { what, ask, leavesAfter }] of streams.entries()) {
      const alone = await ask(Infinity);
      const answer = together[index]!;
      if (leavesAfter === Infinity) assert.deepEqual(answer, alone, what);
      else assert.ok(alone.text.startsWith(answer.text) && alone.calls.startsWith(answer.calls), what);
      if (alone.reason !== 'stop' && alone.reason !== 'tool_calls') continue;
      if (what.startsWith('schema')) JSON.parse(alone.text);
      if (what.startsWith('tool')) JSON.parse(alone.calls.slice('draw'.length));
    }
    const state = await new Promise<GetClusterResponse__Output>((resolve, reject) => {
      client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
    assert.deepEqual([state.numRunning, state.numWaiting], [0, 0]);
    assert.equal(state.numFreeKvBlocks, state.numKvBlocks, 'all blocks are back');
  });
});

function pictureName(): string {
  const expected = JSON.parse(readFileSync(goldenPath(MODEL, 'expected.json'), 'utf8')) as unknown;
  const [name] = /[\w-]+\.png/.exec(JSON.stringify(expected)) ?? [];
  assert.ok(name, 'a picture of the golden case');
  return name;
}
