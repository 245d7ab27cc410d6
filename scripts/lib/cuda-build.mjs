// Builds build/cuda/skein_cuda.node (and the native CUDA tests), and says with which toolkit.
import { existsSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { findInstalledToolkit, installPypiToolkit } from './cuda-toolkit.mjs';
import { numJobs } from './native-build.mjs';
import { runLogged } from './run-command.mjs';

const BUILD_FOLDER = 'build/cuda';

export async function buildCuda({ repoRoot, tests, reporter }) {
  const logFile = path.join(repoRoot, 'build', 'logs', 'cuda-build.log');
  const installed = findInstalledToolkit();
  if (installed.reason !== undefined) reporter.line(`skein: ${installed.reason}`);
  const toolkit =
    installed.reason === undefined
      ? installed
      : await installPypiToolkit({
          repoRoot,
          logFile: path.join(repoRoot, 'build', 'logs', 'cuda-toolkit.log'),
          reporter,
        });
  reporter.step(`building the CUDA engine with ${toolkit.says}`);
  const architectures = process.env['SKEIN_CUDA_ARCHITECTURES'];
  await runLogged({
    what: 'cmake',
    command: 'cmake',
    args: [
      ...['-S', 'native', '-B', BUILD_FOLDER, '-G', 'Ninja', '-DSKEIN_CUDA=ON'],
      `-DSKEIN_BUILD_TESTS=${tests ? 'ON' : 'OFF'}`,
      `-DSKEIN_CUDA_ROOT=${toolkit.root}`,
      `-DSKEIN_NCCL_ROOT=${toolkit.ncclRoot}`,
      ...(architectures === undefined ? [] : [`-DSKEIN_CUDA_ARCHITECTURES=${architectures}`]),
    ],
    cwd: repoRoot,
    logFile,
  });
  await runLogged({
    what: 'the CUDA build',
    command: 'ninja',
    args: [
      ...['-C', BUILD_FOLDER, '-j', String(numJobs(availableParallelism(), totalmem()))],
      ...['skein_cuda_addon', ...(tests ? ['cuda_tests', 'cuda_kernel_bench'] : [])],
    ],
    cwd: repoRoot,
    logFile,
    append: true,
    onLine: (line) => {
      const match = /^\[(\d+\/\d+)\] (.*)$/.exec(line);
      if (match !== null) reporter.progress(`[${match[1]}] ${match[2].split('/').pop()}`);
    },
  });
  const addon = path.join(BUILD_FOLDER, 'skein_cuda.node');
  if (!existsSync(path.join(repoRoot, addon)))
    throw new SetupError(`the CUDA build made no ${addon}; see ${logFile}`);
  reporter.line(`skein: ${addon} is ready, built with ${toolkit.says}`);
}
