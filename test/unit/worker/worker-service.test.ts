// Goal: what a worker accepts and refuses over the wire: epochs, step numbers, plans in flight, chunks of pictures. The
// engine is a fake; the client is a bare one.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../../common/grpc-status.js';
import { MAX_PLANS_IN_FLIGHT } from '../../../common/limits.js';
import { packUint32 } from '../../../common/packed.js';
import { WorkerServiceClient } from '../../../common/proto.js';
import { PixelFiles } from '../../../coordinator/executor/pixel-files.js';
import type { DescribeResponse__Output } from '../../../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { ExecuteRequest } from '../../../proto/ts/skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse__Output } from '../../../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { LoadResponse__Output } from '../../../proto/ts/skein/worker/v1/LoadResponse.js';
import type { LoadRequest } from '../../../proto/ts/skein/worker/v1/LoadRequest.js';
import type { PutPixelsRequest } from '../../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { StepPlan } from '../../../proto/ts/skein/worker/v1/StepPlan.js';
import type { RunningWorker } from '../../../worker/run-worker.js';
import { FakeEngine, type FakeEngineOptions } from '../../support/fake-engine.js';
import { startInProcessWorker } from '../../support/fake-cluster.js';

const SIDE = 28;
const TILE_BYTES = SIDE * SIDE * 3;
const LOAD: LoadRequest = {
  weightsHash: 'weights',
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

type Call = grpc.ClientDuplexStream<ExecuteRequest, ExecuteResponse__Output>;

interface Held {
  readonly call: Call;
  readonly ended: Promise<unknown>;
  readonly results: { steps: string[]; tokenIds: number[] };
}

describe('WorkerService', function () {
  let worker: RunningWorker;
  let client: InstanceType<typeof WorkerServiceClient>;
  let workerIncarnation = '0';

  async function start(engine: Partial<FakeEngineOptions> = {}): Promise<void> {
    worker = await startInProcessWorker('worker', ({ device }) => new FakeEngine(device, engine));
    client = new WorkerServiceClient(worker.address, grpc.credentials.createInsecure());
    ({ workerIncarnation } = await describe_());
  }

  afterEach(async () => {
    client.close();
    await worker.stop('test ends');
  });

  const unary = <T>(call: (done: (error: grpc.ServiceError | null, value?: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) =>
      call((error, value) => (error === null ? resolve(value!) : reject(error))),
    );
  const describe_ = () => unary<DescribeResponse__Output>((done) => client.describe({}, done));
  const fence = (groupEpoch: number, changes: object = {}) => ({
    ...{ clusterId: 'default', coordinatorIncarnation: 7, groupEpoch, workerIncarnation },
    ...changes,
  });

  /** Opens a step stream; resolves when the worker has taken the epoch, rejects when it refuses. */
  function open(groupEpoch: number, changes: object = {}): Promise<Held> {
    const call = client.execute() as Call;
    const results: Held['results'] = { steps: [], tokenIds: [] };
    let onOpened: () => void;
    const opened = new Promise<void>((resolve) => (onOpened = resolve));
    call.on('data', ({ result, opened: isOpen }: ExecuteResponse__Output) => {
      if (isOpen) onOpened();
      if (!result) return;
      results.steps.push(result.step);
      for (let offset = 0; offset < result.tokenIds.length; offset += 4)
        results.tokenIds.push(result.tokenIds.readUInt32LE(offset));
      call.emit('step');
    });
    const ended = new Promise<unknown>((resolve) => {
      call.on('error', (error) => resolve(error));
      call.on('end', () => resolve(null));
    });
    call.write({ open: fence(groupEpoch, changes) });
    return Promise.race([
      opened.then(() => ({ call, ended, results })),
      ended.then((error) => Promise.reject(error as Error)),
    ]);
  }

  async function load(groupEpoch: number, changes: object = {}, request: object = {}): Promise<string> {
    const call = client.load({ ...LOAD, ...request, fence: fence(groupEpoch, changes) });
    let readBytes = '';
    call.on('data', ({ result }: LoadResponse__Output) => {
      if (result) ({ readBytes } = result);
    });
    await new Promise((resolve, reject) => call.on('end', resolve).on('error', reject));
    return readBytes;
  }

  const prepare = (groupEpoch: number, nonce = '1') =>
    unary<{ address: Buffer }>((done) =>
      client.prepareGroup(
        { fence: fence(groupEpoch), nonce, rank: 0, worldSize: 1, collective: 'COLLECTIVE_KIND_NONE' },
        done,
      ),
    );
  const join = (groupEpoch: number, address: Buffer) =>
    unary<object>((done) =>
      client.joinGroup(
        { fence: fence(groupEpoch), addresses: [address], numKvBlocks: 8, timeoutMs: 1000 },
        done,
      ),
    );
  async function form(groupEpoch: number): Promise<Held> {
    const held = await open(groupEpoch);
    await load(groupEpoch);
    await join(groupEpoch, (await prepare(groupEpoch)).address);
    return held;
  }
  const abort = (groupEpoch: number, changes: object = {}) =>
    unary<{ lastStep: string }>((done) =>
      client.abort({ fence: fence(groupEpoch, changes), reason: 'test' }, done),
    );

  /** Sends plans; resolves with the steps that were answered and the error, if any. */
  async function execute(
    { call, ended, results }: Held,
    plans: readonly StepPlan[],
    numExpected = plans.length,
  ) {
    call.on('step', () => {
      if (results.steps.length === numExpected) call.end();
    });
    for (const plan of plans) call.write({ plan });
    const error = await ended;
    return { ...results, error: error === null ? null : code(error) };
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
    const { steps, tokenIds, error } = await execute(await form(3), [firstPlan(3), decode(3, 2)]);
    assert.deepEqual([steps, tokenIds.length, error], [['1', '2'], 2, null]);
  });

  it('refuses an epoch that is not above the highest it has seen, and says which that is', async () => {
    await start();
    const fifth = await form(5);
    await assert.rejects(open(5), is('RANK_TAKEN'));
    for (const groupEpoch of [4, 0]) await assert.rejects(open(groupEpoch), is('STALE_EPOCH'));
    const { highestEpoch, weightsHash } = await describe_();
    assert.deepEqual([highestEpoch, weightsHash], ['5', 'weights']);
    const sixth = await form(6);
    assert.equal(code(await fifth.ended), 'STALE_EPOCH');
    await assert.rejects(prepare(5), is('STALE_EPOCH'));
    await assert.rejects(abort(5), is('STALE_EPOCH'));
    assert.equal((await execute(sixth, [firstPlan(6)])).error, null);
  });

  it('serves one coordinator while its step stream is open, and the next when it is closed', async () => {
    await start({ stepMs: 5 });
    const other = { coordinatorIncarnation: 9 };
    const held = await form(5);
    await assert.rejects(open(6, other), is('WORKER_TAKEN'));
    await assert.rejects(load(5, other), is('WORKER_TAKEN'));
    await assert.rejects(abort(5, other), is('WORKER_TAKEN'));
    const shutDown = unary((done) => client.shutDown({ fence: fence(6, other), reason: 'test' }, done));
    await assert.rejects(shutDown, is('WORKER_TAKEN'));
    assert.equal((await describe_()).highestEpoch, '5');
    const { steps, error } = await execute(held, [firstPlan(5), decode(5, 2)]);
    assert.deepEqual([steps, error], [['1', '2'], null]);
    const next = await open(6, other);
    await assert.rejects(load(6), is('WORKER_TAKEN'));
    next.call.cancel();
  });

  it('refuses other clusters, and calls that are meant for the process before it', async () => {
    await start();
    await assert.rejects(open(1, { clusterId: 'other' }), is('JOIN_REJECTED'));
    await assert.rejects(open(1, { workerIncarnation: 1 }), is('WORKER_LOST'));
    await assert.rejects(
      unary((done) => client.abort({ reason: 'no fence' }, done)),
      is('INVALID_REQUEST'),
    );
    const call = client.execute();
    call.write({ plan: firstPlan(1) });
    const error = await new Promise((resolve) => call.on('error', resolve));
    assert.equal(code(error), 'INVALID_REQUEST');
  });

  it('answers a prepare that comes again as before, and no other', async () => {
    await start();
    await open(1);
    await load(1);
    const first = await prepare(1, '5');
    assert.deepEqual((await prepare(1, '5')).address, first.address);
    await assert.rejects(prepare(1, '6'), is('STEP_OUT_OF_ORDER'));
  });

  it('refuses a load that comes again, and goes on with the first', async () => {
    await start();
    await open(1);
    await load(1);
    await assert.rejects(load(1), is('STEP_OUT_OF_ORDER'));
    await join(1, (await prepare(1)).address);
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
      assert.equal((await execute(await form(1), [firstPlan(1, step)])).error, 'STEP_OUT_OF_ORDER');
      client.close();
      await worker.stop('again');
    }
    await start();
    assert.equal((await execute(await form(1), [firstPlan(1), firstPlan(1)], 9)).error, 'STEP_OUT_OF_ORDER');
  });

  it('takes no more plans than may be in flight', async () => {
    await start({ hangAtStep: 1 });
    const others = Array.from({ length: MAX_PLANS_IN_FLIGHT }, (_, index) => decode(1, 2 + index));
    assert.equal((await execute(await form(1), [firstPlan(1), ...others])).error, 'QUEUE_FULL');
  });

  it('lets an abort pass a step that hangs, and starts the next epoch clean', async () => {
    await start({ hangAtStep: 2 });
    const running = execute(await form(1), [firstPlan(1), decode(1, 2)], 9);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await abort(1)).lastStep, '1');
    assert.equal((await running).error, 'ABORTED');
    assert.equal((await abort(1)).lastStep, '1');
    assert.equal((await execute(await form(2), [firstPlan(2)])).error, null);
  });

  function putPixels(messages: readonly PutPixelsRequest[]): Promise<unknown> {
    return new Promise((resolve) => {
      const call = client.putPixels((error, response) =>
        resolve(error !== null ? code(error) : response?.unreadable === true ? 'unreadable' : null),
      );
      call.on('error', () => undefined);
      for (const message of messages) call.write(message);
      call.end();
    });
  }

  it('assembles pictures from chunks and refuses what does not fit', async () => {
    await start();
    await form(1);
    const header = { fence: fence(1), numTiles: 2, tileSlots: packUint32([0, 1]) };
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
    assert.equal(await putPixels([{ ...header, fence: fence(9), pictureId: 8, data: bytes }]), 'STALE_EPOCH');
  });

  it('reads a picture from a file of the sender, and says so where it cannot', async () => {
    await start();
    await form(1);
    const header = { fence: fence(1), numTiles: 2, tileSlots: packUint32([0, 1]) };
    const files = new PixelFiles();
    await files.use(new Uint8Array(2 * TILE_BYTES).fill(7), async (sharedFile) => {
      assert.ok(sharedFile !== null);
      assert.equal(await putPixels([{ ...header, pictureId: 1, sharedFile }]), null);
      const other = { ...sharedFile, inode: '1' };
      assert.equal(await putPixels([{ ...header, pictureId: 2, sharedFile: other }]), 'unreadable');
      assert.equal(
        await putPixels([{ ...header, pictureId: 3, numTiles: 1, tileSlots: packUint32([0]), sharedFile }]),
        'unreadable',
      );
      const more = { data: Buffer.alloc(1) };
      assert.equal(await putPixels([{ ...header, pictureId: 4, sharedFile, ...more }]), 'INVALID_REQUEST');
      assert.equal(await putPixels([{ ...header, pictureId: 5, sharedFile }, more]), 'INVALID_REQUEST');
      assert.equal(
        await putPixels([{ ...header, pictureId: 6, ...more }, { sharedFile }]),
        'INVALID_REQUEST',
      );
      assert.equal(
        await putPixels([{ ...header, fence: fence(9), pictureId: 7, sharedFile }]),
        'STALE_EPOCH',
      );
    });
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
      assert.equal((await execute(await form(1), [plan])).error, 'INVALID_REQUEST');
      client.close();
      await worker.stop('again');
    }
    await start();
  });
});
