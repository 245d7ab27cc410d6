// The protocol as it is on the wire: 64-bit fields keep all bits, absent optional fields stay absent, bytes are
// Buffers.
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { AppError } from '../../../common/errors.js';
import {
  PROTO_FILES,
  clusterServiceDefinition,
  inferenceServiceDefinition,
  packageDefinition,
  uint64FromBigInt,
  uint64ToBigInt,
  uint64ToNumber,
  workerServiceDefinition,
} from '../../../common/proto.js';
import type { StepResult, StepResult__Output } from '../../../proto/ts/skein/worker/v1/StepResult.js';
import { readdirSync } from 'node:fs';
import { repoPath } from '../../support/paths.js';

const UINT64_MAX = 2n ** 64n - 1n;

function isInvalidRequestOf(param: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof AppError && error.code === 'INVALID_REQUEST' && error.details['param'] === param;
}

function throughTheWire(result: StepResult): StepResult__Output {
  const bytes = workerServiceDefinition.Execute.responseSerialize({ result });
  const back = workerServiceDefinition.Execute.responseDeserialize(bytes).result;
  assert.ok(back);
  return back;
}

describe('the protocol', () => {
  it('loads every .proto file of the repository', () => {
    const files = readdirSync(repoPath('proto'), { recursive: true, encoding: 'utf8' }).filter((f) =>
      f.endsWith('.proto'),
    );
    assert.deepEqual([...PROTO_FILES].sort(), files.sort());
    assert.ok('skein.inference.v1.InferenceService' in packageDefinition);
    assert.equal(clusterServiceDefinition.Register.path, '/skein.cluster.v1.ClusterService/Register');
  });

  it('carries every bit of the 64-bit fields', () => {
    const uint64 = fc.bigInt({ min: 0n, max: UINT64_MAX });
    fc.assert(
      fc.property(uint64, uint64, (hash, seed) => {
        const back = throughTheWire({ sampleHash: uint64FromBigInt(hash, 'sample_hash') });
        assert.equal(uint64ToBigInt(back.sampleHash, 'sample_hash'), hash);
        const request = inferenceServiceDefinition.Generate.requestSerialize({
          sampling: { seed: uint64FromBigInt(seed, 'seed') },
        });
        const sampling = inferenceServiceDefinition.Generate.requestDeserialize(request).sampling;
        assert.equal(uint64ToBigInt(sampling?.seed ?? '', 'seed'), seed);
      }),
      {
        examples: [
          [UINT64_MAX, UINT64_MAX],
          [2n ** 63n, 2n ** 53n + 1n],
          [0n, 0n],
        ],
      },
    );
  });

  it('takes plain numbers for counters and gives them back', () => {
    const back = throughTheWire({ groupEpoch: 7, step: Number.MAX_SAFE_INTEGER, stepNs: 12 });
    assert.equal(uint64ToNumber(back.groupEpoch, 'group_epoch'), 7);
    assert.equal(uint64ToNumber(back.step, 'step'), Number.MAX_SAFE_INTEGER);
    assert.equal(uint64ToNumber(back.collectiveNs, 'collective_ns'), 0);
  });

  it('refuses what does not fit, naming the field', () => {
    assert.throws(() => uint64ToNumber(String(2n ** 53n), 'step'), isInvalidRequestOf('step'));
    for (const bad of ['', '-1', '1.5', '1e3', 'abc', String(UINT64_MAX + 1n)]) {
      assert.throws(() => uint64ToNumber(bad, 'step'), isInvalidRequestOf('step'), bad);
      assert.throws(() => uint64ToBigInt(bad, 'seed'), isInvalidRequestOf('seed'), bad);
    }
    assert.throws(() => uint64FromBigInt(-1n, 'seed'), isInvalidRequestOf('seed'));
    assert.throws(() => uint64FromBigInt(UINT64_MAX + 1n, 'seed'), isInvalidRequestOf('seed'));
  });

  it('tells an absent optional field from a zero one', () => {
    const { requestSerialize, requestDeserialize } = inferenceServiceDefinition.Generate;
    const absent = requestDeserialize(requestSerialize({ sampling: {} })).sampling;
    const zero = requestDeserialize(requestSerialize({ sampling: { temperature: 0 } })).sampling;
    assert.equal(absent?.temperature, undefined);
    assert.equal(zero?.temperature, 0);
  });

  it('gives bytes as Buffers, enums as names and oneofs by name', () => {
    assert.ok(Buffer.isBuffer(throughTheWire({ tokenIds: Buffer.from([1, 0, 0, 0]) }).tokenIds));
    assert.equal(throughTheWire({}).tokenIds.byteLength, 0);
    const { requestSerialize, requestDeserialize } = workerServiceDefinition.PrepareGroup;
    const prepared = requestDeserialize(requestSerialize({ collective: 'COLLECTIVE_KIND_GLOO' }));
    assert.equal(prepared.collective, 'COLLECTIVE_KIND_GLOO');
    const load = workerServiceDefinition.Load;
    const progress = load.responseDeserialize(load.responseSerialize({ progress: { loadedBytes: 3 } }));
    assert.equal(progress.message, 'progress');
  });
});
