// The load request survives the wire unchanged, and its hash changes with whatever changes what a rank would hold.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { knownCheckpoint } from '../../../../coordinator/checkpoint/known-models.js';
import { makeLoadRequest, type LoadOptions } from '../../../../coordinator/sharding/load-request.js';
import { makeShardPlan } from '../../../../coordinator/sharding/make-shard-plan.js';
import { repoRoot } from '../../../support/paths.js';

const OPTIONS: LoadOptions = {
  computeType: 'float32',
  dummyWeights: false,
  dummySeed: 0,
  numThreads: 1,
  maxNumSequences: 8,
  maxStepTokens: 512,
  blockSize: 16,
  maxModelLength: 4096,
  numTileSlots: 32,
  maxTilesPerStep: 4,
  maxTopLogprobs: 20,
  deterministic: true,
  graphBuckets: [1, 2, 4, 8],
};

async function goldenPlan(folder: string, worldSize = 3) {
  const checkpoint = await readCheckpoint(join(repoRoot, 'test', 'golden', folder));
  return makeShardPlan(checkpoint, { worldSize, visionParallel: 'tensor' });
}

function throughTheWire(message: object): Record<string, unknown> {
  const definitions = loadSync('skein/worker/v1/worker.proto', {
    includeDirs: [join(repoRoot, 'proto')],
    longs: Number,
    enums: String,
    defaults: true,
  });
  const type = definitions['skein.worker.v1.LoadRequest'] as unknown as MessageTypeDefinition<object, object>;
  return type.deserialize(type.serialize(message)) as Record<string, unknown>;
}

describe('load request', () => {
  it('arrives as it was sent, enums and packed bytes included', async () => {
    const plan = await goldenPlan('tiny-awq');
    const request = makeLoadRequest(plan, 2, OPTIONS);
    const received = throughTheWire(request);
    for (const [index, tensor] of request.tensors.entries())
      assert.deepEqual((received['tensors'] as object[])[index], { ...tensor });
    for (const [index, slice] of request.slices.entries())
      assert.deepEqual((received['slices'] as object[])[index], { ...slice });
    assert.deepEqual(received['layout'], request.layout);
    assert.deepEqual(received['text'], request.text);
    assert.deepEqual(received['files'], request.files);
    assert.deepEqual(received['graphBuckets'], Buffer.from(Uint32Array.of(1, 2, 4, 8).buffer));
    assert.equal(received['weightsHash'], request.weightsHash);
    assert.equal(received['computeType'], 'DATA_TYPE_FLOAT32');
    assert.equal((received['vision'] as { normType: string }).normType, 'NORM_TYPE_RMS');
    assert.match(request.weightsHash, /^[0-9a-f]{64}$/);
  });

  it('names every role and part of the protocol', async () => {
    const seen = new Set<string>();
    for (const folder of ['tiny-awq', 'tiny-300m-vit']) {
      const request = makeLoadRequest(await goldenPlan(folder), 0, OPTIONS);
      const received = throughTheWire(request) as { tensors: { role: string; part: string }[] };
      for (const { role, part } of received.tensors) seen.add(role).add(part);
    }
    assert.ok(![...seen].some((name) => name.endsWith('UNSPECIFIED')));
    assert.equal(seen.size, 25 + 5);
  });

  it('hashes ranks, types and file times apart, limits and equal content alike', async () => {
    const plan = await goldenPlan('tiny-text');
    const hash = (rank: number, options: Partial<LoadOptions> = {}, from = plan) =>
      makeLoadRequest(from, rank, { ...OPTIONS, ...options }).weightsHash;
    assert.equal(hash(0), hash(0, {}, await goldenPlan('tiny-text')));
    const reordered = Object.fromEntries(Object.entries(OPTIONS).reverse()) as unknown as LoadOptions;
    assert.equal(makeLoadRequest(plan, 0, reordered).weightsHash, hash(0));
    const touched = {
      ...plan,
      files: plan.files.map((file) => ({ ...file, modifiedMs: file.modifiedMs + 1 })),
    };
    const hashes = [hash(0), hash(1), hash(2), hash(0, { computeType: 'bfloat16' }), hash(0, {}, touched)];
    assert.equal(new Set(hashes).size, hashes.length);
    const limits = {
      maxStepTokens: 256,
      maxNumSequences: 3,
      maxModelLength: 64,
      graphBuckets: [1],
      maxTopLogprobs: 1,
      float8KvCache: true,
    };
    assert.equal(
      hash(0, { ...limits, numTileSlots: 3, maxTilesPerStep: 2, blockSize: 32, numThreads: 3 }),
      hash(0),
    );
  });

  it('sends no slices for random weights, and nothing else for a model without files', () => {
    const checkpoint = knownCheckpoint('internvl3-1b');
    assert.ok(checkpoint !== null);
    const plan = makeShardPlan(checkpoint, { worldSize: 2, visionParallel: 'auto' });
    const request = makeLoadRequest(plan, 0, { ...OPTIONS, dummyWeights: true, dummySeed: 7 });
    assert.deepEqual([request.slices.length, request.files.length], [0, 0]);
    assert.equal(throughTheWire(request)['dummySeed'], 7);
    assert.throws(
      () => makeLoadRequest(plan, 0, { ...OPTIONS, dummyWeights: true, maxModelLength: 32_769 }),
      { message: /from 1 to 32768/ },
    );
    assert.throws(() => makeLoadRequest(plan, 2, OPTIONS), { message: /rank 2 is not in a plan of 2 ranks/ });
  });
});
