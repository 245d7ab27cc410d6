// Ranks of this host over its GPUs: who gets which, what their processes are told, and when the machine has too few.
import assert from 'node:assert/strict';
import { AppError } from '../../../../common/errors.js';
import {
  checkNumGpus,
  localDevicePlan,
  mpsControl,
  visibleGpus,
  type DeviceSettings,
} from '../../../../coordinator/cluster/local-devices.js';

const SETTINGS: DeviceSettings = {
  device: 'cuda',
  tensorParallelSize: 4,
  ranksPerDevice: 1,
};

function refusal(settings: Partial<DeviceSettings>, numGpus: number | null): string | null {
  try {
    checkNumGpus({ ...SETTINGS, ...settings }, numGpus);
    return null;
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'INVALID_REQUEST');
    return error.message;
  }
}

describe('devices of local ranks', () => {
  it('are a GPU each, with nothing told to NCCL', () => {
    assert.deepEqual(
      localDevicePlan(SETTINGS, 'g'),
      [0, 1, 2, 3].map((gpu) => ({ device: `cuda:${gpu}`, environment: {} })),
    );
  });

  it('are shared in order, each rank a host of its own to NCCL', () => {
    const plan = localDevicePlan({ ...SETTINGS, tensorParallelSize: 3, ranksPerDevice: 2 }, 'g');
    assert.deepEqual(
      plan.map(({ device }) => device),
      ['cuda:0', 'cuda:0', 'cuda:1'],
    );
    assert.deepEqual(
      plan.map(({ environment }) => environment['NCCL_HOSTID']),
      ['g-0', 'g-1', 'g-2'],
    );
    assert.ok(plan.every(({ environment }) => environment['NCCL_SOCKET_IFNAME'] === 'lo'));
    assert.notEqual(
      localDevicePlan({ ...SETTINGS, ranksPerDevice: 4 }, 'h')[0]!.environment['NCCL_HOSTID'],
      'g-0',
    );
  });

  it('are the one CPU without --device cuda', () => {
    assert.deepEqual(localDevicePlan({ ...SETTINGS, device: 'cpu', tensorParallelSize: 1 }, 'g'), [
      { device: 'cpu', environment: {} },
    ]);
    assert.equal(refusal({ device: 'cpu' }, 0), null);
  });

  it('are refused up front where the machine has too few, with the flag that helps', () => {
    assert.equal(
      refusal({}, 1),
      '4 ranks need 4 GPUs, this machine has 1; --ranks-per-device 4 shares it (for tests and small machines: slower)',
    );
    assert.match(refusal({}, 3) ?? '', /has 3; --ranks-per-device 2 shares them/);
    assert.match(refusal({ ranksPerDevice: 2 }, 1) ?? '', /^4 ranks, 2 to a GPU, need 2 GPUs/);
    assert.match(
      refusal({ tensorParallelSize: 1 }, 0) ?? '',
      /^1 rank needs 1 GPU, this machine has 0; skein doctor/,
    );
    assert.equal(refusal({ ranksPerDevice: 4 }, 1), null);
    assert.equal(refusal({}, 4), null);
    // Not known: the workers say it.
    assert.equal(refusal({}, null), null);
  });

  it('counts the GPUs that CUDA would see', () => {
    assert.equal(visibleGpus(undefined, 4), 4);
    assert.equal(visibleGpus('2,0', 4), 2);
    assert.equal(visibleGpus('', 4), 0);
    assert.equal(visibleGpus('-1', 4), 0);
    assert.equal(visibleGpus('1,7,2', 4), 1);
    assert.equal(visibleGpus('GPU-8932f937', 4), 1);
    assert.equal(visibleGpus('0', null), null);
  });

  it('finds the MPS daemon where it is told to be', () => {
    assert.equal(mpsControl(undefined), '/tmp/nvidia-mps/control');
    assert.equal(mpsControl('/run/mps'), '/run/mps/control');
  });
});
