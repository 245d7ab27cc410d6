// The lines that say what holds a device's memory.
import assert from 'node:assert/strict';
import { memoryTable } from '../../../../coordinator/commands/memory-table.js';

const GIB = 2 ** 30;
const NOTHING = { graphBytes: 0, workspaceBytes: 0, otherBytes: 0 };

describe('memory table', () => {
  it('aligns the ranks of GPUs, in GiB', () => {
    const rank = {
      rank: 0,
      device: 'cuda:0',
      weightBytes: 71.5 * GIB,
      activationBytes: 1.2 * GIB,
      kvBytes: 45.3 * GIB,
      graphBytes: 0.3 * GIB,
      workspaceBytes: 0.1 * GIB,
      otherBytes: 0.5 * GIB,
      freeBytes: 14.1 * GIB,
      totalBytes: 139.8 * GIB,
    };
    const other = { ...rank, rank: 1, device: 'cuda:10', weightBytes: 9 * GIB, freeBytes: 76.6 * GIB };
    assert.equal(
      memoryTable([rank, other], 185_000),
      'rank 0 cuda:0  weights 71.5 GiB, activations 1.2, KV cache 45.3 (185,000 tokens), graphs 0.3, workspaces 0.1, other 0.5, free 14.1 of 139.8\n' +
        'rank 1 cuda:10 weights 9.0 GiB,  activations 1.2, KV cache 45.3 (185,000 tokens), graphs 0.3, workspaces 0.1, other 0.5, free 76.6 of 139.8\n',
    );
  });

  it('says of a CPU what is known, small amounts in MiB', () => {
    const rank = {
      rank: 0,
      device: 'cpu',
      weightBytes: 3 * 2 ** 20,
      activationBytes: 2 ** 20,
      kvBytes: 2 ** 19,
      ...NOTHING,
      freeBytes: 2 * GIB,
      totalBytes: 4 * GIB,
    };
    assert.equal(
      memoryTable([rank], 128),
      'rank 0 cpu weights 3.0 MiB, activations 1.0, KV cache 0.5 (128 tokens), free 2048.0 of 4096.0\n',
    );
  });
});
