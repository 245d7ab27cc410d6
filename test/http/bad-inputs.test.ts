// Goal: bad inputs as one table over both APIs: each ends with the same code over gRPC and HTTP, disturbs no neighbour,
// gives every block and byte back, and tells nothing of the server. Then random ones. The engine is a fake.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import { ERROR_CATALOGUE, type ErrorCode } from '../../common/errors.js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { InferenceServiceClient } from '../../common/proto.js';
import { generateWhole } from '../../coordinator/engine/generate.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { startGateway } from '../support/grpc-service.js';
import { badInputCases } from './bad-input-cases.js';
import { CHAT, COMPLETIONS, MAX_LENGTH, type Case } from './bad-input-forms.js';
import { post, startHttpService, type HttpService } from './http-service.js';

describe('bad inputs over both APIs', function () {
  this.timeout(120_000);
  let service: HttpService;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;

  before(async () => {
    // One rank: the fake engine takes masks on one alone.
    service = await startHttpService({ worldSize: 1, config: { maxModelLength: MAX_LENGTH } });
    gateway = await startGateway(service.cluster);
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  });
  afterEach(() => service.idle());
  after(async () => {
    client.close();
    await gateway.stop(100);
    await service.stop();
  });

  async function overGrpc(
    request: GenerateRequest,
    deadline = 60_000,
  ): Promise<{ code: string; message: string }> {
    return new Promise((resolve) => {
      client.generateOnce({ request }, { deadline: Date.now() + deadline }, (error) => {
        const named = error?.metadata.get(ERROR_CODE_KEY)[0];
        // A deadline is told by the client itself, too.
        const own = error?.code === grpc.status.DEADLINE_EXCEEDED ? 'DEADLINE_EXCEEDED' : 'none';
        resolve({ code: error === null ? 'OK' : String(named ?? own), message: error?.details ?? '' });
      });
    });
  }

  async function overHttp({ path, body, headers, status: own }: NonNullable<Case['http']>) {
    const answer = await post(service.gateway, path, body, headers);
    const { error } = answer.json as { error?: { code: string; message: string } };
    const code = error === undefined ? 'OK' : error.code.toUpperCase();
    const status = code === 'OK' ? 200 : ERROR_CATALOGUE[code as ErrorCode].httpStatus;
    assert.equal(answer.status, own ?? status, answer.text);
    return { code, message: error?.message ?? '' };
  }

  /** Of one that runs beside the others. */
  async function neighbour(): Promise<readonly number[]> {
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6, 7), pictures: [] };
    const spec = { requestId: 'neighbour', prompt, sampling: { maxTokens: 1500, ignoreEos: true } };
    const { engine } = service.cluster.serving;
    return (await generateWhole(engine, spec, new AbortController().signal)).tokenIds;
  }

  /** One after the other until told to stop: there is one at any time. Returns how many there were. */
  async function neighbours(alone: readonly number[], isOver: () => boolean): Promise<number> {
    let count = 0;
    for (; !isOver(); count += 1) assert.deepEqual(await neighbour(), alone, 'the answer beside others');
    return count;
  }

  /** Nothing of a request is left: none but the neighbour is in the engine, and no bytes are held. */
  async function untilGone(what: string): Promise<void> {
    const deadline = Date.now() + 5_000;
    const { engine } = service.cluster.serving;
    while (
      engine.requests.size > 1 ||
      service.cluster.serving.cluster().numRunning > 1 ||
      service.budget.usedBytes > 0
    ) {
      assert.ok(Date.now() < deadline, `${what}: something of it is left`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  it('end with their code and say why, leave nothing, and disturb nobody', async () => {
    const cases = await badInputCases();
    const alone = await neighbour();
    assert.equal(alone.length, 1500);
    let isOver = false;
    const beside = neighbours(alone, () => isOver);
    try {
      for (const { what, expected, says = [], grpc: request, deadline, http } of cases) {
        const answers = await Promise.all([
          request === undefined ? null : overGrpc(request, deadline),
          http === undefined ? null : overHttp(http),
        ]);
        for (const answer of answers) {
          if (answer === null) continue;
          assert.equal(answer.code, expected, `${what}: ${answer.message}`);
          assert.ok(expected === 'OK' || says.length > 0, `${what}: the table has nothing that it says`);
          for (const part of says) assert.ok(answer.message.includes(part), `${what}: ${answer.message}`);
          assert.doesNotMatch(
            answer.message,
            /\/(dist|node_modules|home|tmp|root)\/|0x[0-9a-f]{6}|\n\s+at /,
            what,
          );
        }
        await untilGone(what);
      }
    } finally {
      isOver = true;
      await beside;
    }
  });

  it('come by the hundred at random, and none is a fault of the server', async () => {
    const anything = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(0, -1, 1e9, 0.5, '', 'x', null, true, [], {}, 2 ** 53, -(2 ** 63)),
    );
    const field = fc.constantFrom(
      ...[
        'model',
        'messages',
        'prompt',
        'n',
        'stop',
        'seed',
        'temperature',
        'top_p',
        'top_k',
        'min_p',
        'logit_bias',
      ],
      ...[
        'max_tokens',
        'max_completion_tokens',
        'logprobs',
        'top_logprobs',
        'stream',
        'stream_options',
        'tools',
        'tool_choice',
      ],
      ...['min_tokens', 'stop_token_ids', 'ignore_eos', 'repetition_penalty', 'response_format', 'user'],
    );
    const fields = fc.dictionary(field, anything, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(
        fields,
        fc.constantFrom(CHAT, COMPLETIONS, '/tokenize', '/detokenize'),
        async (more, path) => {
          const base = path === CHAT ? { messages: [{ role: 'user', content: 'x' }] } : { prompt: [5] };
          const { status, text: answer } = await post(service.gateway, path, {
            ...base,
            max_tokens: 2,
            ...more,
          });
          assert.ok(status < 500, `${path} ${JSON.stringify(more)}: ${status} ${answer}`);
          assert.ok(!answer.includes('"internal"'), answer);
        },
      ),
      { numRuns: 400 },
    );
  });
});
