// The doctor's verdicts on what the CUDA engine needs, on machines that are made up.
import assert from 'node:assert/strict';
import { canRunOnCpu, canRunOnGpus, renderTable } from '../../../../coordinator/commands/doctor.js';
import type { Check } from '../../../../coordinator/commands/doctor/check.js';
import { runChecks } from '../../../../coordinator/commands/doctor/checks.js';
import { parseLinks, runsOn } from '../../../../coordinator/commands/doctor/cuda-checks.js';
import type { Machine, ProbeResult } from '../../../../coordinator/commands/doctor/machine.js';
import { machine } from '../../../support/fake-machine.js';

const OVERVIEW = '| NVIDIA-SMI 580.82.07    Driver Version: 580.82.07    CUDA Version: 13.0 |';
const H200 = 'NVIDIA H200, 143771 MiB, 9.0';
const TOPOLOGY = [
  '\tGPU0\tGPU1\tNIC0\tCPU Affinity',
  'GPU0\t X \tNV18\tPIX\t0-47',
  'GPU1\tNV18\t X \tSYS\t0-47',
  'NIC0\tPIX\tSYS\t X ',
].join('\n');

interface GpuFacts {
  readonly version?: string;
  readonly overview?: string;
  readonly gpus?: readonly string[];
  /** Null: not built. */
  readonly addon?: ProbeResult | null;
  readonly architectures?: string;
  readonly nvcc?: string;
  readonly topology?: string;
  readonly peers?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

/** As nvidia-smi topo -p2p r prints it. */
const PEERS = ' \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n\nLegend:\n\n  X    = Self\n  OK   = Status Ok\n';
const COLLECTIVES = 'NCCL 2.28.9, symmetric windows not used: 2.28.3 to 2.30.4 start without waiting';

/** A machine with H200s on which everything is built, but for what a test changes. */
function gpuMachine(facts: GpuFacts = {}): Machine {
  const { addon = { ok: true, output: '2' } as const, gpus = [H200] } = facts;
  const cache = `SKEIN_CUDA_ARCHITECTURES:STRING=${facts.architectures ?? '80;89;90a'}\n`;
  return machine({
    tools: ['g++', 'cmake', 'ninja', 'nvidia-smi'],
    files: {
      '/proc/driver/nvidia/version':
        facts.version ?? 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Tue\n',
      ...(addon === null ? {} : { '/skein/build/cuda/skein_cuda.node': '' }),
      '/skein/build/cuda/CMakeCache.txt': cache,
      '/skein/build/cuda-toolkit/nvidia/cu13/bin/nvcc': '',
      '/skein/build/cuda-toolkit/nvidia/nccl/include/nccl.h': '',
      ...facts.files,
    },
    env: (name) => facts.env?.[name] ?? null,
    run: (command, args) => {
      if (command.endsWith('nvcc'))
        return { ok: true, output: `Cuda compilation tools, release ${facts.nvcc ?? '13.0'}, V13.0.88` };
      if (args.some((argument) => argument.includes('deviceCollectives')))
        return addon?.ok === true
          ? { ok: true, output: COLLECTIVES }
          : { ok: false, reason: 'does not load' };
      if (command !== 'nvidia-smi') {
        return args.some((argument) => argument.includes('skein_cuda')) && addon !== null
          ? addon
          : { ok: true, output: '2' };
      }
      if (args[1] === '-p2p') return { ok: true, output: facts.peers ?? PEERS };
      if (args[0] === 'topo') return { ok: true, output: facts.topology ?? TOPOLOGY };
      if (args[0] === undefined) return { ok: true, output: facts.overview ?? OVERVIEW };
      return gpus.length === 0 ? { ok: false, reason: 'no devices' } : { ok: true, output: gpus.join('\n') };
    },
  });
}

function check(facts: GpuFacts, name: string): Check {
  const found = runChecks(gpuMachine(facts)).find((candidate) => candidate.name === name);
  assert.ok(found, name);
  return found;
}

describe('skein doctor, for GPUs', () => {
  it('finds a machine that lacks nothing', () => {
    const checks = runChecks(gpuMachine());
    assert.ok(canRunOnGpus(checks));
    assert.equal(check({}, 'NVIDIA driver').found, '580.82.07, for CUDA 13.0');
    assert.equal(check({}, 'GPUs').found, 'NVIDIA H200, 143771 MiB, sm_90');
    assert.match(check({}, 'CUDA toolkit').found, /^CUDA 13\.0 in \/skein\/build\/cuda-toolkit/);
    assert.match(renderTable(checks), /on the CPU of this machine and on its GPUs\.$/);
  });

  it('reads the driver of open kernel modules and of containers', () => {
    const open = 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release\n';
    assert.match(check({ version: open }, 'NVIDIA driver').found, /^550\.54\.15/);
    assert.match(check({ version: '' }, 'NVIDIA driver').found, /^580\.82\.07/);
  });

  const failures: [string, GpuFacts, Check['status'], RegExp, RegExp][] = [
    ['NVIDIA driver', { gpus: [], overview: '' }, 'warning', /no libcuda\.so\.1/, /--gpus all/],
    [
      'NVIDIA driver',
      { overview: OVERVIEW.replace('13.0', '12.8') },
      'warning',
      /CUDA 12\.8; the engine is built with CUDA 13/,
      /update the driver/,
    ],
    ['GPUs', { gpus: ['Tesla V100, 16160 MiB, 7.0', H200] }, 'warning', /too old are Tesla V100/, /8\.0/],
    [
      'GPUs',
      { gpus: ['NVIDIA B200, 183359 MiB, 10.0'] },
      'warning',
      /built for sm_80, sm_89, sm_90a only/,
      /^SKEIN_CUDA_ARCHITECTURES=100 npm run build:cuda$/,
    ],
    ['GPUs', { architectures: '80' }, 'warning', /built for sm_80 only/, /ARCHITECTURES=90 /],
    ['CUDA engine', { addon: null }, 'absent', /not built/, /^npm run build:cuda/],
    [
      'CUDA engine',
      {
        addon: {
          ok: false,
          reason: 'Error: libnccl.so.2: cannot open shared object file: No such file or directory',
        },
      },
      'warning',
      /^does not load: there is no libnccl\.so\.2$/,
      /^npm run build:cuda brings libnccl\.so\.2/,
    ],
    [
      'CUDA engine',
      { addon: { ok: false, reason: 'Error: libcuda.so.1: cannot open shared object file: No such' } },
      'warning',
      /no libcuda\.so\.1/,
      /driver/,
    ],
    ['CUDA engine', { addon: { ok: false, reason: 'signal SIGILL' } }, 'warning', /SIGILL/, /build:cuda/],
    ['CUDA toolkit', { nvcc: '12.3' }, 'warning', /12\.3 in .* older than 12\.4/, /build:cuda/],
    ['MPS', {}, 'absent', /not running/, /nvidia-cuda-mps-control -d/],
    [
      'GPU links',
      { gpus: [H200, H200], topology: TOPOLOGY.replaceAll('NV18', 'SYS') },
      'warning',
      /no NVLink/,
      /^$/,
    ],
    [
      'Peer memory',
      { gpus: [H200, H200], peers: PEERS.replaceAll('\tOK', '\tCNS') },
      'warning',
      /between 0 of 1 pairs: ranks exchange through NCCL/,
      /^$/,
    ],
  ];
  for (const [name, facts, status, found, mend] of failures) {
    it(`${name}: ${status} with ${JSON.stringify(facts)}`, () => {
      const verdict = check(facts, name);
      assert.equal(verdict.status, status);
      assert.match(verdict.found, found);
      assert.match(verdict.mend ?? '', mend);
      // Whatever GPUs lack, the CPU is still there.
      assert.ok(canRunOnCpu(runChecks(gpuMachine(facts))));
    });
  }

  it('names what is there: MPS, links, a toolkit of the environment', () => {
    const files = { '/run/mps/control': '', '/cuda/bin/nvcc': '', '/nccl/include/nccl.h': '' };
    const env = { CUDA_MPS_PIPE_DIRECTORY: '/run/mps', CUDA_HOME: '/cuda', NCCL_HOME: '/nccl' };
    assert.equal(check({ files, env }, 'MPS').found, 'running (/run/mps/control)');
    assert.equal(check({ files, env }, 'CUDA toolkit').found, 'CUDA 13.0 in /cuda');
    assert.equal(check({ files, env }, 'NCCL').found, 'header in /nccl/include');
    assert.equal(check({ gpus: [H200, H200] }, 'GPU links').found, 'NVLink between all (NV18)');
    assert.equal(check({ gpus: [H200, H200] }, 'Peer memory').found, 'reachable between all');
    assert.equal(check({}, 'GPU collectives').found, COLLECTIVES);
  });

  it('knows which GPUs machine code runs on', () => {
    assert.ok(
      runsOn('80', [8, 0]) && runsOn('80', [8, 6]) && runsOn('90a', [9, 0]) && runsOn('120', [12, 0]),
    );
    assert.ok(
      !runsOn('89', [8, 6]) && !runsOn('80', [9, 0]) && !runsOn('100a', [10, 3]) && !runsOn('x', [8, 0]),
    );
  });

  it('reads each pair of GPUs once', () => {
    const matrix = ['    GPU0 GPU1 GPU2', 'GPU0  X  NV4 SYS', 'GPU1 NV4  X  PHB', 'GPU2 SYS PHB  X'].join(
      '\n',
    );
    assert.deepEqual(parseLinks(matrix), ['NV4', 'SYS', 'PHB']);
  });
});
