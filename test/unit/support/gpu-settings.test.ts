// Where the ranks of test/gpu go, and at which world sizes.
import assert from 'node:assert/strict';

import { gpuDevices, gpuRounds, gpuWorldSizes } from '../../support/gpu.js';

describe('settings of the GPU tests', () => {
  it('are one GPU and world sizes 1, 2 and 4 unless told otherwise', () => {
    assert.deepEqual(gpuWorldSizes({}), [1, 2, 4]);
    assert.deepEqual(gpuDevices(2, {}), ['cuda:0', 'cuda:0']);
    assert.equal(gpuRounds({}), 1);
    assert.equal(gpuRounds({ SKEIN_GPU_ROUNDS: '5' }), 5);
  });

  it('deal ranks out over the GPUs in turn', () => {
    assert.deepEqual(gpuWorldSizes({ SKEIN_GPU_WORLD_SIZES: '2,8' }), [2, 8]);
    assert.deepEqual(gpuDevices(3, { SKEIN_GPU_DEVICES: '2' }), ['cuda:0', 'cuda:1', 'cuda:0']);
    assert.deepEqual(gpuDevices(2, { SKEIN_GPU_DEVICES: '8' }), ['cuda:0', 'cuda:1']);
  });

  it('are whole numbers', () => {
    assert.throws(() => gpuWorldSizes({ SKEIN_GPU_WORLD_SIZES: '2,x' }), /x: not a whole number/);
    assert.throws(() => gpuDevices(1, { SKEIN_GPU_DEVICES: '0' }), /0: not a whole number/);
  });
});
