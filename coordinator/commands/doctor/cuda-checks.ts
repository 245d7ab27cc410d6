// What the CUDA engine needs of a machine: driver, GPUs that it has code for, the addon with its libraries, what builds
// it, and what makes several ranks fast. All optional: without a GPU Skein runs on the CPU. Pure over Machine.
import path from 'node:path';
import { mpsControl } from '../../cluster/local-devices.js';
import type { Check } from './check.js';
import { libraryPath } from './facts.js';
import type { Machine } from './machine.js';

const OLDEST_TOOLKIT: Version = [12, 4];
const OLDEST_CAPABILITY: Version = [8, 0];
const BUILD = 'npm run build:cuda';

type Version = readonly [major: number, minor: number];

interface Gpu {
  readonly name: string;
  readonly memory: string;
  /** Null where the driver is too old to tell. */
  readonly capability: Version | null;
}

export function cudaChecks(machine: Machine): Check[] {
  const gpus = readGpus(machine);
  const toolkit = readToolkit(machine);
  return [
    driverCheck(machine, gpus, toolkit),
    gpusCheck(machine, gpus),
    engineCheck(machine),
    toolkitCheck(toolkit),
    ncclCheck(machine),
    ...collectivesCheck(machine),
    ...(gpus.length > 0 ? [mpsCheck(machine)] : []),
    ...(gpus.length > 1 ? [linksCheck(machine), peerMemoryCheck(machine)] : []),
  ];
}

function driverCheck(machine: Machine, gpus: readonly Gpu[], toolkit: Toolkit | null): Check {
  const name = 'NVIDIA driver';
  const text = machine.readFile('/proc/driver/nvidia/version') ?? '';
  const overview = machine.hasTool('nvidia-smi') ? machine.run('nvidia-smi', []) : null;
  const smi = overview?.ok === true ? overview.output : '';
  const version =
    /Kernel Module\s+(?:for \S+\s+)?(\d[\d.]*)/.exec(text)?.[1] ??
    /Driver Version:\s*([\d.]+)/.exec(smi)?.[1];
  if (version === undefined) {
    const mend = 'install the NVIDIA driver, only if this machine has such a GPU';
    return { name, status: 'absent', found: 'none', mend };
  }
  const cuda = parseVersion(/CUDA Version:\s*(\d+\.\d+)/.exec(smi)?.[1]);
  const found = cuda === null ? version : `${version}, for CUDA ${cuda.join('.')}`;
  if (gpus.length === 0 && libraryPath(machine, 'libcuda.so.1') === null) {
    const mend = 'in a container: start it with --gpus all; else install the rest of the driver (libcuda1)';
    return { name, status: 'warning', found: `${found}, but no libcuda.so.1`, mend };
  }
  // Within a major version older drivers run newer programs.
  const wanted = toolkit?.version?.[0] ?? 0;
  if (cuda !== null && cuda[0] < wanted) {
    const mend = `update the driver to one for CUDA ${wanted}, or build with CUDA ${cuda[0]}: CUDA_HOME=... ${BUILD}`;
    return { name, status: 'warning', found: `${found}; the engine is built with CUDA ${wanted}`, mend };
  }
  return { name, status: 'ok', found, mend: null };
}

function gpusCheck(machine: Machine, gpus: readonly Gpu[]): Check {
  const name = 'GPUs';
  if (gpus.length === 0) return { name, status: 'absent', found: 'none', mend: null };
  const found = gpus.map(describeGpu).join('; ');
  const old = gpus.find(({ capability }) => capability !== null && isBelow(capability, OLDEST_CAPABILITY));
  if (old !== undefined) {
    const mend = `use GPUs of compute capability ${OLDEST_CAPABILITY.join('.')} or more (CUDA_VISIBLE_DEVICES picks them)`;
    return { name, status: 'warning', found: `${found}: too old are ${old.name}`, mend };
  }
  const architectures = builtArchitectures(machine);
  const without = gpus.find(
    ({ capability }) =>
      capability !== null &&
      architectures !== null &&
      !architectures.some((each) => runsOn(each, capability)),
  );
  if (without !== undefined) {
    const wanted = without.capability!.join('');
    return {
      name,
      status: 'warning',
      found: `${found}: the engine is built for sm_${architectures!.join(', sm_')} only`,
      mend: `SKEIN_CUDA_ARCHITECTURES=${wanted} ${BUILD}`,
    };
  }
  return { name, status: 'ok', found, mend: null };
}

function engineCheck(machine: Machine): Check {
  const name = 'CUDA engine';
  const file = machine.inRepository('build', 'cuda', 'skein_cuda.node');
  if (!machine.exists(file)) {
    return { name, status: 'absent', found: 'not built', mend: `${BUILD}, only to run on GPUs` };
  }
  // In a process of its own: an addon for another machine may end the process that loads it.
  const program = `process.stdout.write(String(require(${JSON.stringify(file)}).interfaceVersion))`;
  const result = machine.run(process.execPath, ['-e', program]);
  if (result.ok)
    return { name, status: 'ok', found: `loads, interface version ${result.output}`, mend: null };
  const library = /(lib[\w+-]+\.so[\w.]*): cannot open shared object file/.exec(result.reason)?.[1];
  if (library === undefined) {
    return { name, status: 'warning', found: `does not load: ${result.reason}`, mend: BUILD };
  }
  const mend = library.startsWith('libcuda.so') ? 'install the NVIDIA driver' : `${BUILD} brings ${library}`;
  return { name, status: 'warning', found: `does not load: there is no ${library}`, mend };
}

interface Toolkit {
  readonly folder: string;
  /** Null: its compiler does not say. */
  readonly version: Version | null;
}

/** The one that npm run build:cuda takes. */
function readToolkit(machine: Machine): Toolkit | null {
  const pypi = machine.inRepository('build', 'cuda-toolkit', 'nvidia', 'cu13');
  const folders = [machine.env('CUDA_HOME'), machine.env('CUDA_PATH'), '/usr/local/cuda', '/opt/cuda', pypi];
  for (const folder of folders) {
    if (folder === null || folder === '') continue;
    const nvcc = path.join(folder, 'bin', 'nvcc');
    if (!machine.exists(nvcc)) continue;
    const result = machine.run(nvcc, ['--version']);
    const version = result.ok ? parseVersion(/release (\d+\.\d+)/.exec(result.output)?.[1]) : null;
    if (
      version !== null &&
      isBelow(version, OLDEST_TOOLKIT) &&
      folder !== pypi &&
      machine.exists(path.join(pypi, 'bin', 'nvcc'))
    )
      continue;
    return { folder, version };
  }
  return null;
}

function toolkitCheck(toolkit: Toolkit | null): Check {
  const name = 'CUDA toolkit';
  const mend = `${BUILD} brings one from PyPI, only to build for GPUs`;
  if (toolkit === null) return { name, status: 'absent', found: 'none', mend };
  const { folder, version } = toolkit;
  if (version === null) {
    return { name, status: 'warning', found: `nvcc in ${folder} does not run`, mend };
  }
  const found = `CUDA ${version.join('.')} in ${folder}`;
  if (!isBelow(version, OLDEST_TOOLKIT)) return { name, status: 'ok', found, mend: null };
  return { name, status: 'warning', found: `${found}, older than ${OLDEST_TOOLKIT.join('.')}`, mend };
}

function ncclCheck(machine: Machine): Check {
  const name = 'NCCL';
  const mend = `${BUILD} brings it from PyPI, only to build for GPUs`;
  const pypi = machine.inRepository('build', 'cuda-toolkit', 'nvidia', 'nccl');
  for (const root of [machine.env('NCCL_HOME'), '/usr/local/cuda', '/usr/local', '/usr', pypi]) {
    if (root !== null && root !== '' && machine.exists(path.join(root, 'include', 'nccl.h'))) {
      return { name, status: 'ok', found: `header in ${path.join(root, 'include')}`, mend: null };
    }
  }
  const library = libraryPath(machine, 'libnccl.so');
  if (library === null) return { name, status: 'absent', found: 'none', mend };
  return { name, status: 'warning', found: `${library}, but no nccl.h to build with`, mend };
}

/** What the built engine would use between GPUs; nothing where it does not load, which engineCheck tells. */
function collectivesCheck(machine: Machine): Check[] {
  const file = machine.inRepository('build', 'cuda', 'skein_cuda.node');
  if (!machine.exists(file)) return [];
  const program = `process.stdout.write(String(require(${JSON.stringify(file)}).deviceCollectives))`;
  const result = machine.run(process.execPath, ['-e', program]);
  return result.ok ? [{ name: 'GPU collectives', status: 'ok', found: result.output, mend: null }] : [];
}

function mpsCheck(machine: Machine): Check {
  const name = 'MPS';
  const control = mpsControl(machine.env('CUDA_MPS_PIPE_DIRECTORY'));
  if (machine.exists(control)) return { name, status: 'ok', found: `running (${control})`, mend: null };
  const mend = 'nvidia-cuda-mps-control -d, only for ranks that share a GPU (--ranks-per-device)';
  return { name, status: 'absent', found: 'not running', mend };
}

/** How each pair of GPUs is connected, in the upper triangle of nvidia-smi's matrix. */
function linksCheck(machine: Machine): Check {
  const name = 'GPU links';
  const result = machine.run('nvidia-smi', ['topo', '-m']);
  const pairs = result.ok ? parseLinks(result.output) : [];
  if (pairs.length === 0) return { name, status: 'warning', found: 'unknown', mend: null };
  const numNvLink = pairs.filter((link) => /^NV\d+$/.test(link)).length;
  const kinds = [...new Set(pairs)].sort().join(', ');
  if (numNvLink === pairs.length) {
    return { name, status: 'ok', found: `NVLink between all (${kinds})`, mend: null };
  }
  const some = numNvLink === 0 ? 'no NVLink' : `NVLink between ${numNvLink} of ${pairs.length} pairs`;
  return { name, status: 'warning', found: `${some} (${kinds}): all-reduce is slower`, mend: null };
}

/** Whether each GPU can read and write the memory of the others, in the same form. */
function peerMemoryCheck(machine: Machine): Check {
  const name = 'Peer memory';
  const result = machine.run('nvidia-smi', ['topo', '-p2p', 'r']);
  const pairs = result.ok ? parseLinks(result.output) : [];
  if (pairs.length === 0) return { name, status: 'warning', found: 'unknown', mend: null };
  const numReached = pairs.filter((state) => state === 'OK').length;
  if (numReached === pairs.length) return { name, status: 'ok', found: 'reachable between all', mend: null };
  const found = `reachable between ${numReached} of ${pairs.length} pairs: ranks exchange through NCCL`;
  return { name, status: 'warning', found, mend: null };
}

export function parseLinks(matrix: string): string[] {
  // A terminal's version of the matrix underlines its header.
  const rows = matrix
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first, second]) => /^GPU\d+$/.test(first ?? '') && !/^GPU\d+$/.test(second ?? ''));
  return rows.flatMap((row, index) => row.slice(1).slice(index + 1, rows.length));
}

function readGpus(machine: Machine): Gpu[] {
  if (!machine.hasTool('nvidia-smi')) return [];
  const query = (fields: string) =>
    machine.run('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader']);
  let result = query('name,memory.total,compute_cap');
  // Drivers before 495 know no compute_cap.
  if (!result.ok) result = query('name,memory.total');
  if (!result.ok) return [];
  return result.output
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', memory = '', capability] = line.split(',').map((field) => field.trim());
      return { name, memory, capability: parseVersion(capability) };
    });
}

function describeGpu({ name, memory, capability }: Gpu): string {
  return `${name}, ${memory}${capability === null ? '' : `, sm_${capability.join('')}`}`;
}

/** Of the built engine, as CMake keeps them; null: it is not built. */
function builtArchitectures(machine: Machine): string[] | null {
  const cache = machine.readFile(machine.inRepository('build', 'cuda', 'CMakeCache.txt'));
  const list = /^SKEIN_CUDA_ARCHITECTURES:\w+=(.*)$/m.exec(cache ?? '')?.[1];
  return list === undefined || list === '' ? null : list.split(';');
}

/** Machine code runs on the same major version from its minor version on; with a letter, on that very one. */
export function runsOn(architecture: string, [major, minor]: Version): boolean {
  const match = /^(\d+)(\d)([a-z]?)$/.exec(architecture);
  if (match === null || Number(match[1]) !== major) return false;
  return match[3] === '' ? Number(match[2]) <= minor : Number(match[2]) === minor;
}

function parseVersion(text: string | undefined): Version | null {
  const match = /^(\d+)\.(\d+)$/.exec(text ?? '');
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

function isBelow(version: Version, limit: Version): boolean {
  return version[0] < limit[0] || (version[0] === limit[0] && version[1] < limit[1]);
}
