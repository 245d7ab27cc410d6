// What each GPU of this host reads and multiplies at most, one after the other, and how they are connected. Prints one
// JSON object.
//
//   node dist/bench/gpu/ceilings.js [--devices N]
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';

import { parseLinks } from '../../coordinator/commands/doctor/cuda-checks.js';
import { repoPath } from '../../test/support/paths.js';
import { median } from '../statistics.js';
import { parseCeilings, visibleDevices } from './device-list.js';

const KERNEL_BENCH = repoPath('build', 'cuda', 'cuda_kernel_bench');

const { values } = parseArgs({ options: { devices: { type: 'string', default: '1' } } });

function measure(device: string): ReturnType<typeof parseCeilings> {
  const output = execFileSync(KERNEL_BENCH, ['--only', 'ceilings'], {
    encoding: 'utf8',
    env: { ...process.env, CUDA_VISIBLE_DEVICES: device },
  });
  return parseCeilings(output);
}

/** What nvidia-smi says, as it says it; null where it refuses, as in some virtual machines. */
function topology(args: readonly string[]): string[] | null {
  try {
    const text = execFileSync('nvidia-smi', ['topo', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return text.split('\n').filter((line) => line.trim() !== '');
  } catch {
    return null;
  }
}

const devices = visibleDevices(process.env['CUDA_VISIBLE_DEVICES'], Number(values.devices)).map((device) => ({
  device,
  ...measure(device),
}));
const matrix = topology(['-m']);
process.stdout.write(
  `${JSON.stringify({
    devices,
    slowestReadTBps: Math.min(...devices.map(({ readTBps }) => readTBps)),
    medianReadTBps: median(devices.map(({ readTBps }) => readTBps)),
    links: matrix === null ? null : parseLinks(matrix.join('\n')),
    topology: matrix,
    peerReads: topology(['-p2p', 'r']),
  })}\n`,
);
