// Goal: the public gRPC service as clients meet it: health, reflection, bad requests, deadlines, cancellation, a reader
// that does not read. The engine is a fake.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { inferenceServiceDefinition } from '../../common/proto.js';
import { statusDetailOf } from '../../common/status-details.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetModelResponse__Output } from '../../proto/ts/skein/inference/v1/GetModelResponse.js';
import type { FakeCluster } from '../support/fake-cluster.js';
import { useGrpcService, type GrpcService } from '../support/grpc-service.js';
import { healthClient } from '../support/health-client.js';
import { goldenPath } from '../support/paths.js';

const SERVICE = 'skein.inference.v1.InferenceService';

/** Length-prefixed messages of a response. */
function parseMessages(bytes: Buffer): GenerateResponse__Output[] {
  const messages: GenerateResponse__Output[] = [];
  for (let offset = 0; offset < bytes.byteLength;) {
    const end = offset + 5 + bytes.readUInt32BE(offset + 1);
    messages.push(inferenceServiceDefinition.Generate.responseDeserialize(bytes.subarray(offset + 5, end)));
    offset = end;
  }
  return messages;
}

describe('the gRPC service', function () {
  const service = useGrpcService({ worldSize: 2, engine: { stepMs: 2 } });
  const { once, idle } = service;
  let cluster: FakeCluster;
  let gateway: GrpcGateway;
  let client: GrpcService['client'];

  before(() => ({ cluster, gateway, client } = service));

  it('streams what GenerateOnce gives in one message', async () => {
    const request: GenerateRequest = {
      requestId: 'mine',
      text: 'Why?',
      sampling: { maxTokens: 12, topLogprobs: 2 },
    };
    const whole = await once(request);
    const messages: GenerateResponse__Output[] = [];
    for await (const message of client.generate(request)) messages.push(message as GenerateResponse__Output);
    assert.equal(whole.requestId, 'mine');
    assert.equal(whole.finishReason, 'FINISH_REASON_LENGTH');
    assert.deepEqual(
      messages.flatMap((message) => message.tokenIds),
      whole.tokenIds,
    );
    assert.equal(
      messages.map((message) => message.reasoningDelta + message.answerDelta).join(''),
      whole.reasoning + whole.answer,
    );
    assert.deepEqual(messages[0]?.promptTokenIds, whole.promptTokenIds);
    assert.ok(messages.slice(1).every((message) => message.promptTokenIds.length === 0));
    assert.equal(whole.logprobs[0]?.top.length, 2);
    // The second one finds the first one's prompt.
    assert.deepEqual({ ...messages.at(-1)?.usage, cachedTokens: 0 }, whole.usage);
    assert.equal(whole.usage?.completionTokens, 12);
    const { totalMs, ttftMs, queueMs, encodeMs, prefillMs, decodeMs, ranks } = whole.timings!;
    assert.ok(totalMs >= ttftMs && ttftMs > 0 && encodeMs <= queueMs);
    assert.ok(Math.abs(queueMs + prefillMs + decodeMs - totalMs) < 1e-6, 'the phases are all of it');
    assert.deepEqual(
      ranks.map(({ rank }) => rank),
      [0, 1],
    );
    // What the fake engine says of each of its steps, one a token; a step that was under way is counted as well.
    for (const { computeMs, allReduceWaitMs, samplingMs } of ranks) {
      assert.ok(computeMs >= 12 * 0.0005 - 1e-9, String(computeMs));
      assert.ok(
        Math.abs(allReduceWaitMs / computeMs - 0.4) < 1e-6 && Math.abs(samplingMs / computeMs - 0.6) < 1e-6,
      );
    }
  });

  it('ends calls of both kinds with trailers that say what the last message says', async () => {
    const request = { promptTokenIds: [3, 4], sampling: { maxTokens: 3 } };
    const trailers = await new Promise<grpc.Metadata[]>((resolve, reject) => {
      const all: grpc.Metadata[] = [];
      const add = (status: grpc.StatusObject): void => void (all.push(status.metadata) === 2 && resolve(all));
      client
        .generateOnce({ request }, (error) => (error === null ? undefined : reject(error)))
        .on('status', add);
      client.generate(request).on('status', add).on('error', reject).resume();
    });
    for (const metadata of trailers) {
      const text = String(metadata.get('server-timing')[0]);
      assert.match(
        text,
        /^queue;dur=[\d.]+, ttft;dur=[\d.]+, tpot;dur=[\d.]+, total;dur=[\d.]+, prompt;desc=2, completion;desc=3, cached;desc=0$/,
      );
      const [queue, ttft, , total] = [...text.matchAll(/dur=([\d.]+)/g)].map((match) => Number(match[1]));
      assert.ok(queue! <= ttft! && ttft! <= total!, text);
    }
  });

  it("shows the checkpoint's sampling defaults", async () => {
    const model = await new Promise<GetModelResponse__Output>((resolve, reject) => {
      client.getModel({}, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
    assert.equal(model.defaultSampling?.temperature, 0);
    assert.equal(model.defaultSampling?.skipSpecialTokens, true);
    assert.equal(model.defaultSampling?.maxTokens, undefined);
  });

  it('takes pictures with token ids, which hold a picture token for each', async () => {
    const data = readFileSync(goldenPath('tiny-6b-vit', 'img0.png'));
    const model = await new Promise<GetModelResponse__Output>((resolve, reject) => {
      client.getModel({}, (error, value) => (error === null ? resolve(value!) : reject(error)));
    });
    const picture = model.pictureTokenId;
    assert.ok(picture !== undefined);
    const sampling = { maxTokens: 4 };
    const short = await once({ promptTokenIds: [1, picture, 2], pictures: [{ data }], sampling });
    const numTokens = short.usage!.pictureTiles * model.tokensPerTile;
    const whole = [1, ...new Array<number>(numTokens).fill(picture), 2];
    assert.deepEqual(short.promptTokenIds, whole);
    const long = await once({ promptTokenIds: whole, pictures: [{ data }], sampling });
    assert.deepEqual(long.tokenIds, short.tokenIds);
    await assert.rejects(once({ promptTokenIds: [1, 2], pictures: [{ data }], sampling }), {
      code: grpc.status.INVALID_ARGUMENT,
      details: /0 runs of the picture token/,
    });
    await idle();
  });

  it('answers about pictures, and other pixels give another answer', async () => {
    const ask = (name: string) => {
      const data = readFileSync(goldenPath('tiny-6b-vit', name));
      return once({ text: 'What is it?', pictures: [{ data }], sampling: { maxTokens: 10 } });
    };
    const first = await ask('img0.png');
    assert.ok(first.usage!.pictureTiles > 0);
    assert.deepEqual((await ask('img0.png')).tokenIds, first.tokenIds);
    assert.notDeepEqual((await ask('img1.png')).tokenIds, first.tokenIds);
    await idle();
  });

  it('refuses bad requests, naming the field', async () => {
    const picture = { data: readFileSync(goldenPath('tiny-6b-vit', 'img0.png')) };
    const refused: [GenerateRequest, string, RegExp][] = [
      [{}, 'INVALID_REQUEST', /messages/],
      [{ text: 'x', promptTokenIds: [5] }, 'INVALID_REQUEST', /prompt_token_ids/],
      [{ pictures: [picture] }, 'INVALID_REQUEST', /text/],
      [{ promptTokenIds: [1_000_000] }, 'INVALID_REQUEST', /prompt_token_ids\[0\]/],
      [{ text: 'x', model: 'other' }, 'MODEL_NOT_FOUND', /other/],
      [{ messages: [{ role: 'robot', content: [{ text: 'x' }] }] }, 'INVALID_REQUEST', /messages\[0\]\.role/],
      [{ messages: [{ role: 'user', content: [] }] }, 'INVALID_REQUEST', /messages\[0\]\.content/],
      [{ messages: [{ role: 'user', content: [{}] }] }, 'INVALID_REQUEST', /content\[0\]/],
      [{ messages: [{ role: 'assistant', content: [{ text: 'x' }] }] }, 'INVALID_REQUEST', /end with/],
      [{ text: 'x', pictures: [{ data: Buffer.alloc(0) }] }, 'INVALID_PICTURE', /pictures\[0\]/],
      [{ text: 'x', pictures: [{ data: Buffer.from('no picture') }] }, 'INVALID_PICTURE', /pictures\[0\]/],
      [{ text: 'x', pictures: Array.from({ length: 21 }, () => picture) }, 'INVALID_PICTURE', /20/],
      [{ text: 'x', sampling: { temperature: Infinity } }, 'INVALID_REQUEST', /temperature/],
      [{ text: 'x', sampling: { minP: -0.5 } }, 'INVALID_REQUEST', /min_p/],
      [{ text: 'x', sampling: { repetitionPenalty: 0 } }, 'INVALID_REQUEST', /repetition_penalty/],
      [{ text: 'x', sampling: { maxTokens: 5, minTokens: 6 } }, 'INVALID_REQUEST', /min_tokens/],
      [
        { text: 'x', sampling: { logitBias: [{ tokenId: 999_999, bias: 1 }] } },
        'INVALID_REQUEST',
        /logit_bias/,
      ],
      [{ text: 'x', sampling: { logitBias: [{ tokenId: 5, bias: NaN }] } }, 'INVALID_REQUEST', /logit_bias/],
      [
        { text: 'x', sampling: { logitBias: [1, 2].map((bias) => ({ tokenId: 5, bias })) } },
        'INVALID_REQUEST',
        /logit_bias names token 5 twice/,
      ],
      [{ text: 'x', sampling: { stop: Array.from({ length: 17 }, () => 'a') } }, 'INVALID_REQUEST', /stop/],
      [{ requestId: 'x'.repeat(300), text: 'x' }, 'INVALID_REQUEST', /request_id/],
    ];
    for (const [request, expected, message] of refused) {
      const error = await once(request).then(
        () => assert.fail(`accepted: ${JSON.stringify(request).slice(0, 200)}`),
        (failure: grpc.ServiceError) => failure,
      );
      assert.equal(error.metadata.get(ERROR_CODE_KEY)[0], expected, error.message);
      assert.match(error.details, message);
      const { reason } = statusDetailOf(error.metadata, 'ErrorInfo') as { reason?: string };
      assert.equal(reason, expected);
      const violations = statusDetailOf(error.metadata, 'BadRequest')?.['fieldViolations'];
      if (expected === 'INVALID_REQUEST')
        assert.match((violations as { field: string }[])[0]!.field, /^[a-z]/);
    }
    await idle();
  });

  it('ends a request whose deadline passes, and frees what it held', async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      const request = { promptTokenIds: [5], sampling: { maxTokens: 1000 } };
      client.generateOnce({ request }, { deadline: Date.now() + 100 }, (failure) => resolve(failure));
    });
    assert.equal(error?.code, grpc.status.DEADLINE_EXCEEDED);
    await idle();
  });

  it('ends a request whose client leaves', async () => {
    const call = client.generate({ promptTokenIds: [5], sampling: { maxTokens: 1000 } });
    call.on('error', () => undefined);
    await new Promise((resolve) => call.once('data', resolve));
    call.cancel();
    await idle();
  });

  /**
   * grpc-js buffers on the client's side whatever comes, so the reader that does not read is a plain HTTP/2 client. A
   * long id in every message fills its window; what is merged behind that is text, and too little to be paused for.
   */
  function openStalled(numTokens: number) {
    const session = connectHttp2(`http://${gateway.address}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': inferenceServiceDefinition.Generate.path,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
    });
    const requestId = 'x'.repeat(250);
    const request = { requestId, promptTokenIds: [5], sampling: { maxTokens: numTokens } };
    const body = inferenceServiceDefinition.Generate.requestSerialize(request);
    const header = Buffer.alloc(5);
    header.writeUInt32BE(body.byteLength, 1);
    stream.end(Buffer.concat([header, body]));
    return { session, stream };
  }

  it('is done with a client that stalls, and cancels only when its answer is complete', async () => {
    const { session, stream } = openStalled(1000);
    await new Promise((resolve) => stream.once('response', resolve));
    await idle();
    assert.equal(gateway.numCalls, 1);
    stream.close(constants.NGHTTP2_CANCEL);
    const deadline = Date.now() + 5_000;
    while (gateway.numCalls > 0) {
      assert.ok(Date.now() < deadline, 'the call of a client that is gone ends');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    session.close();
  });

  it('merges what a slow reader has not taken, and loses nothing', async () => {
    const numTokens = 1000;
    const { session, stream } = openStalled(numTokens);
    await new Promise((resolve) => stream.once('response', resolve));
    while (cluster.serving.cluster().numRunning > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const messages = parseMessages(Buffer.concat((await stream.toArray()) as Buffer[]));
    assert.equal(messages.flatMap((message) => message.tokenIds).length, numTokens);
    assert.ok(messages.length < numTokens / 2, `${messages.length} messages`);
    assert.equal(messages.at(-1)?.finishReason, 'FINISH_REASON_LENGTH');
    session.close();
    await idle();
  });

  it('describes the model and the cluster', async () => {
    const model = await new Promise<
      { model: string; vocabSize: number; supportsPictures: boolean } | undefined
    >((resolve) => client.getModel({}, (_error, value) => resolve(value)));
    assert.equal(model?.supportsPictures, true);
    assert.equal(model?.vocabSize, cluster.serving.model.vocabSize);
    const facts = await new Promise<
      | {
          state: string;
          worldSize: number;
          ranks: { pid: number }[];
          steps: string | number;
          completedSteps: string | number;
          stepMs: number;
        }
      | undefined
    >((resolve) => client.getCluster({}, (_error, value) => resolve(value)));
    assert.deepEqual([facts?.state, facts?.worldSize, facts?.ranks[1]?.pid], ['ready', 2, process.pid]);
    // The fake engine's steps take 1,000 ns each, and nothing runs now.
    assert.ok(Number(facts?.completedSteps) > 0);
    assert.equal(Number(facts?.completedSteps), Number(facts?.steps));
    assert.ok(Math.abs(facts!.stepMs - Number(facts?.completedSteps) * 1e-3) < 1e-9);
  });

  it('answers health checks, by service', async () => {
    const health = healthClient(gateway.address);
    for (const service of ['', SERVICE]) assert.equal(await health.check(service), 'SERVING');
    health.close();
  });

  it('shows its own services by reflection, with messages, and not the inner ones', async () => {
    const definition = loadSync('grpc/reflection/v1/reflection.proto', {
      includeDirs: [new URL('../../../node_modules/@grpc/reflection/build/proto', import.meta.url).pathname],
    });
    const Reflection = (
      grpc.loadPackageDefinition(definition) as unknown as {
        grpc: { reflection: { v1: { ServerReflection: typeof grpc.Client } } };
      }
    ).grpc.reflection.v1.ServerReflection;
    const reflection = new Reflection(gateway.address, grpc.credentials.createInsecure()) as grpc.Client & {
      ServerReflectionInfo(): grpc.ClientDuplexStream<object, Record<string, never>>;
    };
    const ask = (request: object) =>
      new Promise<{
        listServicesResponse?: { service: { name: string }[] };
        fileDescriptorResponse?: { fileDescriptorProto: Buffer[] };
      }>((resolve, reject) => {
        const call = reflection.ServerReflectionInfo();
        call.on('data', resolve);
        call.on('error', reject);
        call.write(request);
        call.end();
      });
    const services = (await ask({ listServices: '' })).listServicesResponse?.service.map(({ name }) => name);
    assert.ok(services?.includes(SERVICE), String(services));
    assert.ok(!services?.some((name) => name.includes('WorkerService')));
    const file = await ask({ fileContainingSymbol: SERVICE });
    const bytes = Buffer.concat(file.fileDescriptorResponse!.fileDescriptorProto);
    assert.ok(bytes.includes('GenerateOnceRequest'));
    // ghz and grpcurl write fields as the .proto file does.
    assert.ok(bytes.includes('max_tokens'));
    const health = await ask({ fileContainingSymbol: 'grpc.health.v1.Health' });
    assert.ok(Buffer.concat(health.fileDescriptorResponse!.fileDescriptorProto).includes('StatusesEntry'));
    reflection.close();
  });
});
