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
import { anyGrpcRequest as request, GRPC_FAULTS } from '../support/random-requests.js';

const NUM_RUNS = 150;
const NUM_BYTE_RUNS = 120;
/** In flight together, so that they meet in steps. */
const BATCH = 8;
const NEIGHBOUR_TOKENS = 400;
const METHOD = '/skein.inference.v1.InferenceService/Generate';

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
      !GRPC_FAULTS.has(status.code),
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
