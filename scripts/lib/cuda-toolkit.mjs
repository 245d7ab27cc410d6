// Finds what the CUDA addon is built with: an installed toolkit of 12.4 or newer with NCCL, or else packages from PyPI
// in a folder of the repository, arranged like a toolkit.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';
import { ensureRequirements, PYPI_REQUIREMENTS } from './system-packages.mjs';

const OLDEST = [12, 4];
/** The compiler and what it needs, cuBLAS, NCCL. */
const PYPI_PACKAGES = [
  'nvidia-cuda-nvcc==13.0.*',
  'nvidia-cuda-crt==13.0.*',
  'nvidia-nvvm==13.0.*',
  'nvidia-cuda-runtime==13.0.*',
  'nvidia-cuda-cccl==13.0.*',
  'nvidia-cublas==13.*',
  'nvidia-nccl-cu13==2.28.*',
];

/** [major, minor] of nvcc --version's output, or null. */
export function parseNvccVersion(text) {
  const match = /release (\d+)\.(\d+)/.exec(text);
  return match === null ? null : [Number(match[1]), Number(match[2])];
}

export function isRecent([major, minor]) {
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/** Folders that may hold a toolkit, best first. */
export function candidateRoots(env) {
  return [env['CUDA_HOME'], env['CUDA_PATH'], '/usr/local/cuda', '/opt/cuda'].filter(
    (folder) => folder !== undefined && folder !== '',
  );
}

function nvccVersion(root) {
  const result = spawnSync(path.join(root, 'bin', 'nvcc'), ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? parseNvccVersion(result.stdout) : null;
}

/** A folder with include/nccl.h and lib/libnccl.so*, or null. */
export function findNccl(folders, exists = existsSync) {
  for (const root of folders) {
    if (!exists(path.join(root, 'include/nccl.h'))) continue;
    const libraries = ['lib', 'lib64', 'lib/x86_64-linux-gnu'].flatMap((lib) =>
      ['libnccl.so', 'libnccl.so.2'].map((name) => path.join(root, lib, name)),
    );
    if (libraries.some((library) => exists(library))) return root;
  }
  return null;
}

/** {root, ncclRoot, says} of an installed toolkit, or {reason}: why there is none. */
export function findInstalledToolkit(env = process.env) {
  const seen = [];
  for (const root of candidateRoots(env)) {
    const version = existsSync(path.join(root, 'bin', 'nvcc')) ? nvccVersion(root) : null;
    if (version === null) continue;
    const name = `CUDA ${version.join('.')} in ${root}`;
    if (!isRecent(version)) {
      seen.push(`${name} is older than ${OLDEST.join('.')}`);
      continue;
    }
    const ncclRoot = findNccl([env['NCCL_HOME'], root, '/usr/local', '/usr'].filter(Boolean));
    if (ncclRoot === null) {
      seen.push(`${name} has no NCCL beside it`);
      continue;
    }
    return { root, ncclRoot, says: `${name}, NCCL in ${ncclRoot}` };
  }
  return { reason: seen.length > 0 ? seen.join('; ') : 'no CUDA toolkit is installed' };
}

/** Names that the linker asks for; the packages hold only versioned ones. */
function arrangeLikeToolkit(site) {
  const root = path.join(site, 'nvidia/cu13');
  const ncclRoot = path.join(site, 'nvidia/nccl');
  const links = [
    [path.join(root, 'lib64'), 'lib'],
    [path.join(root, 'lib/libcublasLt.so'), 'libcublasLt.so.13'],
    [path.join(root, 'lib/libcudart.so'), 'libcudart.so.13'],
    [path.join(ncclRoot, 'lib/libnccl.so'), 'libnccl.so.2'],
  ];
  for (const [link, target] of links) {
    if (!existsSync(path.join(path.dirname(link), target)))
      throw new SetupError(`the CUDA packages hold no ${path.join(path.dirname(link), target)}`);
    if (!existsSync(link)) symlinkSync(target, link);
  }
  return { root, ncclRoot };
}

/** The packages in build/cuda-toolkit, installed once. */
export async function installPypiToolkit({ repoRoot, logFile, reporter }) {
  const site = path.join(repoRoot, 'build', 'cuda-toolkit');
  const stamp = path.join(site, '.complete');
  if (!existsSync(stamp)) {
    const packagesLog = path.join(path.dirname(logFile), 'system-packages.log');
    await ensureRequirements({
      requirements: PYPI_REQUIREMENTS,
      repoRoot,
      logFile: packagesLog,
      reporter,
    });
    reporter.step('fetching the CUDA compiler, cuBLAS and NCCL from PyPI (about 900 MB)');
    rmSync(site, { recursive: true, force: true });
    mkdirSync(site, { recursive: true });
    await runLogged({
      what: 'pip',
      command: 'python3',
      // A folder of its own: also where the distribution's Python refuses packages (PEP 668).
      args: ['-m', 'pip', 'install', '--no-deps', '--only-binary=:all:', '--target', site, ...PYPI_PACKAGES],
      cwd: repoRoot,
      logFile,
    });
  }
  const roots = arrangeLikeToolkit(site);
  if (!existsSync(stamp)) writeFileSync(stamp, PYPI_PACKAGES.join('\n'));
  return { ...roots, says: `PyPI packages of CUDA 13.0 in ${site}` };
}
