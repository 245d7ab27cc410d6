// Goal: what a worker accepts and refuses over the wire: epochs, step numbers, plans in flight, chunks of pictures. The engine is
// a fake; the client is a bare one.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../../common/grpc-status.js';
import { packUint32 } from '../../../common/packed.js';
import { WorkerServiceClient } from '../../../common/proto.js';
import type { ExecuteResponse__Output } from '../../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { LoadRequest } from '../../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { PutPixelsRequest } from '../../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { StepPlan } from '../../../proto/ts/skein/worker/v1/StepPlan.js';
import type { RunningWorker } from '../../../worker/run-worker.js';
import { FakeEngine, type FakeEngineOptions } from '../../support/fake-engine.js';
import { startInProcessWorker } from '../../support/fake-cluster.js';

const SIDE = 28;
const TILE_BYTES = SIDE * SIDE * 3;
const LOAD: LoadRequest = {
  planHash: 'plan',
  text: {
    hiddenSize: 8,
    numLayers: 1,
    numHeads: 1,
    numKvHeads: 1,
    headDim: 8,
    intermediateSize: 8,
    vocabSize: 256,
  },
  vision: { normType: 'NORM_TYPE_RMS', imageSize: SIDE, patchSize: 14, numChannels: 3 },
  layout: { rank: 0, worldSize: 1, visionParallel: 'VISION_PARALLEL_DATA' },
  computeType: 'DATA_TYPE_FLOAT32',
  maxNumSequences: 2,
  maxStepTokens: 16,
  blockSize: 16,
  maxModelLength: 64,
  numTileSlots: 4,
  maxTilesPerStep: 2,
  deterministic: true,
};

const code = (error: unknown): unknown => (error as grpc.ServiceError).metadata.get(ERROR_CODE_KEY)[0];
const is = (expected: string) => (error: unknown) => code(error) === expected;

describe('WorkerService', function () {
  let worker: RunningWorker;
  let client: InstanceType<typeof WorkerServiceClient>;

  async function start(engine: Partial<FakeEngineOptions> = {}): Promise<void> {
    worker = await startInProcessWorker('worker', ({ device }) => new FakeEngine(device, engine));
    client = new WorkerServiceClient(worker.address, grpc.credentials.createInsecure());
    const load = client.load(LOAD);
    load.resume();
    await new Promise((resolve, reject) => load.on('end', resolve).on('error', reject));
  }

  afterEach(async () => {
    client.close();
    await worker.stop('test ends');
  });

  const unary = <T>(call: (done: (error: grpc.ServiceError | null, value?: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) =>
      call((error, value) => (error === null ? resolve(value!) : reject(error))),
    );
  const prepare = (groupEpoch: number) =>
    unary<{ address: Buffer }>((done) =>
      client.prepareGroup({ groupEpoch, rank: 0, worldSize: 1, collective: 'COLLECTIVE_KIND_NONE' }, done),
    );
  const join = (groupEpoch: number, address: Buffer) =>
    unary<object>((done) =>
      client.joinGroup({ groupEpoch, addresses: [address], numKvBlocks: 8, timeoutMs: 1000 }, done),
    );
  const form = async (groupEpoch: number) => join(groupEpoch, (await prepare(groupEpoch)).address);
  const abort = (groupEpoch: number) =>
    unary<{ lastStep: string }>((done) => client.abort({ groupEpoch, reason: 'test' }, done));

  /** Sends plans on one stream; resolves with the steps that were answered and the error, if any. */
  function execute(plans: readonly StepPlan[], numExpected = plans.length) {
    return new Promise<{ steps: string[]; tokenIds: number[]; error: unknown }>((resolve) => {
      const call = client.execute();
      const steps: string[] = [];
      const tokenIds: number[] = [];
      call.on('data', ({ result }: ExecuteResponse__Output) => {
        steps.push(result!.step);
        for (let offset = 0; offset < result!.tokenIds.length; offset += 4)
          tokenIds.push(result!.tokenIds.readUInt32LE(offset));
        if (steps.length === numExpected) call.end();
      });
      call.on('error', (error) => resolve({ steps, tokenIds, error: code(error) }));
      call.on('end', () => resolve({ steps, tokenIds, error: null }));
      for (const plan of plans) call.write({ plan });
    });
  }

  const firstPlan = (groupEpoch: number, step = 1): StepPlan => ({
    groupEpoch,
    step,
    newSequences: [
      {
        slot: 0,
        tokenIds: packUint32([5, 6, 7]),
        numPromptTokens: 3,
        sampling: { topP: 1, repetitionPenalty: 1 },
      },
    ],
    newBlocks: packUint32([0, 0]),
    scheduledSlots: packUint32([0]),
    scheduledTokens: packUint32([3]),
  });
  const decode = (groupEpoch: number, step: number): StepPlan => ({
    groupEpoch,
    step,
    scheduledSlots: packUint32([0]),
    scheduledTokens: packUint32([1]),
  });

  it('runs steps in order and acknowledges each', async () => {
    await start();
    await form(3);
    const { steps, tokenIds, error } = await execute([firstPlan(3), decode(3, 2)]);
    assert.deepEqual([steps, tokenIds.length, error], [['1', '2'], 2, null]);
  });

  it('refuses an epoch that is not above the highest it has seen, and says which that is', async () => {
    await start();
    await form(5);
    for (const groupEpoch of [5, 4, 0]) await assert.rejects(prepare(groupEpoch), is('STALE_EPOCH'));
    const description = await unary<{ highestEpoch: string; loadedPlanHash: string }>((done) =>
      client.describe({}, done),
    );
    assert.deepEqual([description.highestEpoch, description.loadedPlanHash], ['5', 'plan']);
    await form(6);
    assert.equal((await execute([firstPlan(5)])).error, 'STALE_EPOCH');
    await assert.rejects(abort(5), is('STALE_EPOCH'));
    assert.equal((await execute([firstPlan(6)])).error, null);
  });

  it('refuses a join without its prepare', async () => {
    await start();
    await assert.rejects(join(1, Buffer.from('rank-0')), is('STALE_EPOCH'));
    await form(1);
    await assert.rejects(join(1, Buffer.from('rank-0')), is('STEP_OUT_OF_ORDER'));
  });

  it('refuses a step that does not follow the last one', async () => {
    for (const step of [2, 0]) {
      await start();
      await form(1);
      assert.equal((await execute([firstPlan(1, step)])).error, 'STEP_OUT_OF_ORDER');
      client.close();
      await worker.stop('again');
    }
    await start();
    await form(1);
    assert.equal((await execute([firstPlan(1), firstPlan(1)], 9)).error, 'STEP_OUT_OF_ORDER');
  });

  it('takes no more plans than may be in flight', async () => {
    await start({ hangAtStep: 1 });
    await form(1);
    assert.equal((await execute([firstPlan(1), decode(1, 2), decode(1, 3)])).error, 'QUEUE_FULL');
  });

  it('lets an abort pass a step that hangs, and starts the next epoch clean', async () => {
    await start({ hangAtStep: 2 });
    await form(1);
    const running = execute([firstPlan(1), decode(1, 2)]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await abort(1)).lastStep, '1');
    assert.equal((await execute([decode(1, 3)])).error, 'ABORTED');
    await form(2);
    assert.equal((await execute([firstPlan(2)])).error, null);
    assert.equal((await running).error, 'ABORTED');
  });

  it('allows one step stream an epoch', async () => {
    await start({ hangAtStep: 1 });
    await form(1);
    const first = client.execute();
    first.on('error', () => undefined);
    first.write({ plan: firstPlan(1) });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await execute([firstPlan(1)])).error, 'RANK_TAKEN');
    first.cancel();
  });

  function putPixels(messages: readonly PutPixelsRequest[]): Promise<unknown> {
    return new Promise((resolve) => {
      const call = client.putPixels((error) => resolve(error === null ? null : code(error)));
      call.on('error', () => undefined);
      for (const message of messages) call.write(message);
      call.end();
    });
  }

  it('assembles pictures from chunks and refuses what does not fit', async () => {
    await start();
    await form(1);
    const header = { groupEpoch: 1, numTiles: 2, tileSlots: packUint32([0, 1]) };
    const bytes = Buffer.alloc(2 * TILE_BYTES, 7);
    const half = { data: bytes.subarray(0, TILE_BYTES) };
    assert.equal(await putPixels([{ ...header, pictureId: 1, data: bytes }]), null);
    assert.equal(await putPixels([{ ...header, pictureId: 2, ...half }, half]), null);
    assert.equal(await putPixels([{ ...header, pictureId: 3, ...half }]), 'INVALID_REQUEST');
    assert.equal(await putPixels([{ ...header, pictureId: 4, data: bytes }, half]), 'INVALID_REQUEST');
    assert.equal(await putPixels([]), 'INVALID_REQUEST');
    assert.equal(await putPixels([{ ...header, pictureId: 5, numTiles: 5, data: bytes }]), 'INVALID_REQUEST');
    assert.equal(
      await putPixels([{ ...header, pictureId: 6, tileSlots: packUint32([0]), data: bytes }]),
      'INVALID_REQUEST',
    );
    assert.equal(
      await putPixels([{ ...header, pictureId: 7, tileSlots: Buffer.alloc(7), data: bytes }]),
      'INVALID_REQUEST',
    );
    assert.equal(await putPixels([{ ...header, groupEpoch: 9, pictureId: 8, data: bytes }]), 'STALE_EPOCH');
  });

  it('refuses plans whose arrays do not agree', async () => {
    const broken: StepPlan[] = [
      { ...firstPlan(1), scheduledTokens: packUint32([1, 2]) },
      { ...firstPlan(1), newBlocks: packUint32([0]) },
      { ...firstPlan(1), scheduledSlots: Buffer.alloc(3) },
      { ...firstPlan(1), newSequences: [{ slot: 0, tokenIds: packUint32([5]) }] },
    ];
    for (const plan of broken) {
      await start();
      await form(1);
      assert.equal((await execute([plan])).error, 'INVALID_REQUEST');
      client.close();
      await worker.stop('again');
    }
    await start();
  });
});
