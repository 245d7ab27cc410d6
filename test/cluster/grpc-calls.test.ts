// Goal: the calls of the gRPC service beside generating: what a prompt's ids are, what ids mean, and an end by id. The
// engine is a fake.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type * as grpc from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { TokenizeResponse__Output } from '../../proto/ts/skein/inference/v1/TokenizeResponse.js';
import { useGrpcService } from '../support/grpc-service.js';
import { goldenPath } from '../support/paths.js';

describe('calls beside generating', function () {
  const service = useGrpcService({ worldSize: 2, engine: { stepMs: 2 } });

  it('gives the ids of a prompt as Generate has them, and their text', async () => {
    const tokenize = (request: GenerateRequest | null) =>
      new Promise<TokenizeResponse__Output>((resolve, reject) => {
        service.client.tokenize({ request }, (error, value) =>
          error === null ? resolve(value!) : reject(error),
        );
      });
    const detokenize = (tokenIds: number[], model = '') =>
      new Promise<string>((resolve, reject) => {
        service.client.detokenize({ tokenIds, model }, (error, value) =>
          error === null ? resolve(value!.text) : reject(error),
        );
      });
    const data = readFileSync(goldenPath('tiny-6b-vit', 'img0.png'));
    const long = 'why? '.repeat(20_000);
    for (const request of [{ text: 'What is it?' }, { text: 'What is it?', pictures: [{ data }] }]) {
      const { tokenIds, maxModelLength } = await tokenize(request);
      const answer = await service.once({ ...request, sampling: { maxTokens: 1 } });
      assert.deepEqual(tokenIds, answer.promptTokenIds);
      assert.equal(maxModelLength, service.cluster.serving.model.maxModelLength);
      assert.match(await detokenize(tokenIds), /What is it\?/);
    }
    assert.equal(service.cluster.serving.engine.requests.size, 0);
    assert.equal(await detokenize([]), '');
    const refused: [() => Promise<unknown>, string, RegExp][] = [
      [() => tokenize(null), 'INVALID_REQUEST', /request is missing/],
      [() => tokenize({}), 'INVALID_REQUEST', /messages/],
      [() => tokenize({ text: 'x', model: 'other' }), 'MODEL_NOT_FOUND', /other/],
      [() => tokenize({ text: long }), 'CONTEXT_LENGTH_EXCEEDED', /context length/],
      [
        () => tokenize({ text: 'x', pictures: [{ data: Buffer.from('x') }] }),
        'INVALID_PICTURE',
        /pictures\[0\]/,
      ],
      [() => detokenize([5, 1_000_000]), 'INVALID_REQUEST', /token_ids\[1\] is 1000000/],
      [() => detokenize(new Array<number>(131_073).fill(5)), 'INVALID_REQUEST', /the limit is 131072/],
      [() => detokenize([5], 'other'), 'MODEL_NOT_FOUND', /other/],
    ];
    for (const [call, code, message] of refused) {
      const error = await call().then(
        () => assert.fail(`accepted: ${String(message)}`),
        (failure: grpc.ServiceError) => failure,
      );
      assert.equal(error.metadata.get(ERROR_CODE_KEY)[0], code, error.details);
      assert.match(error.details, message);
    }
    assert.equal(service.gateway.numCalls, 0);
  });

  it('answers one prompt several times, streamed and whole, and frees all that a client leaves', async () => {
    const request = { text: 'What is it?', n: 3, sampling: { maxTokens: 40, ignoreEos: true } };
    const whole = await service.once(request);
    const single = await service.once({ ...request, n: 0 });
    assert.equal(whole.otherAnswers.length, 2);
    assert.equal(single.otherAnswers.length, 0);
    // The fake engine draws nothing.
    for (const { answer, usage, promptTokenIds } of whole.otherAnswers) {
      assert.deepEqual([answer, usage!.completionTokens], [single.answer, 40]);
      assert.equal(promptTokenIds.length, 0);
    }
    assert.deepEqual(whole.promptTokenIds, single.promptTokenIds);

    const answers = ['', '', ''];
    const ends: number[] = [];
    let promptTokenIds: number[] = [];
    const call = service.client.generate(request);
    for await (const message of call as AsyncIterable<GenerateResponse__Output>) {
      if (promptTokenIds.length > 0) assert.deepEqual(message.promptTokenIds, []);
      else ({ promptTokenIds } = message);
      answers[message.index] += message.answerDelta;
      if (message.usage !== null) ends.push(message.index);
    }
    assert.deepEqual(ends.sort(), [0, 1, 2]);
    assert.deepEqual(answers, new Array(3).fill(single.answer));
    assert.deepEqual(promptTokenIds, single.promptTokenIds);

    const long = service.client.generate({ ...request, sampling: { maxTokens: 3000, ignoreEos: true } });
    await new Promise((resolve) => long.once('data', resolve));
    long.on('error', () => undefined);
    long.cancel();
    await service.idle();
    const refused: [GenerateRequest, RegExp][] = [
      [{ ...request, n: 129 }, /n must be at most 128; got 129/],
      [{ ...request, idempotencyKey: 'k' }, /idempotency_key goes with calls for one answer/],
    ];
    for (const [asked, message] of refused) await assert.rejects(service.once(asked), message);
  });

  it('aborts requests by their id, running and waiting ones, and says how many they were', async () => {
    const abort = (requestId: string) =>
      new Promise<number>((resolve, reject) => {
        service.client.abort({ requestId }, (error, value) =>
          error === null ? resolve(value!.numAborted) : reject(error),
        );
      });
    const request = { promptTokenIds: [5], sampling: { maxTokens: 1000, ignoreEos: true } };
    // Four run, two wait.
    const ended = Array.from({ length: 6 }, () =>
      service.once({ ...request, requestId: 'twin' }).then(
        () => null,
        (error: grpc.ServiceError) => error,
      ),
    );
    const other = service.client.generate({ ...request, requestId: 'other', sampling: { maxTokens: 3 } });
    const tokens: number[] = [];
    other.on('data', (message: GenerateResponse__Output) => tokens.push(...message.tokenIds));
    const otherEnded = new Promise((resolve, reject) => other.on('end', resolve).on('error', reject));
    while (service.cluster.serving.engine.requests.size < 7)
      await new Promise((resolve) => setTimeout(resolve, 2));
    assert.equal(await abort('nobody'), 0);
    assert.equal(await abort('twin'), 6);
    for (const error of await Promise.all(ended)) {
      assert.equal(error?.code, status.CANCELLED);
      assert.match(error.details, /aborted by its id/);
    }
    await otherEnded;
    assert.equal(tokens.length, 3);
    assert.equal(await abort('twin'), 0);
    await assert.rejects(abort(''), { code: status.INVALID_ARGUMENT, details: /request_id is missing/ });
    await service.idle();
  });
});
