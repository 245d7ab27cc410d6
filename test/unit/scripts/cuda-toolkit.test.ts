// How the CUDA build chooses its toolkit: versions, folders, and NCCL beside it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { repoPath } from '../../support/paths.js';
import { loadScript } from '../../support/scripts.js';

interface CudaToolkit {
  parseNvccVersion(text: string): [number, number] | null;
  isRecent(version: readonly [number, number]): boolean;
  candidateRoots(env: Readonly<Record<string, string>>): string[];
  findNccl(folders: readonly string[], exists: (file: string) => boolean): string | null;
}

describe('the CUDA toolkit', () => {
  let toolkit: CudaToolkit;
  before(async () => {
    toolkit = await loadScript<CudaToolkit>('cuda-toolkit.mjs');
  });

  it("is known by nvcc's own version", () => {
    const text = 'nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88\n';
    assert.deepEqual(toolkit.parseNvccVersion(text), [13, 0]);
    assert.equal(toolkit.parseNvccVersion('gcc 12.2'), null);
  });

  it('must be 12.4 or newer', () => {
    assert.ok(toolkit.isRecent([12, 4]));
    assert.ok(toolkit.isRecent([13, 0]));
    assert.ok(!toolkit.isRecent([12, 3]));
    assert.ok(!toolkit.isRecent([11, 8]));
  });

  it('is looked for where the environment says first', () => {
    assert.equal(toolkit.candidateRoots({ CUDA_HOME: '/a', CUDA_PATH: '' })[0], '/a');
    assert.ok(toolkit.candidateRoots({}).includes('/usr/local/cuda'));
  });

  it('needs the header and the library of NCCL in one folder', () => {
    const files = new Set(['/a/include/nccl.h', '/b/include/nccl.h', '/b/lib/libnccl.so.2']);
    assert.equal(
      toolkit.findNccl(['/a', '/b'], (file) => files.has(file)),
      '/b',
    );
    assert.equal(
      toolkit.findNccl(['/a'], (file) => files.has(file)),
      null,
    );
  });
});

describe('the CUDA build', () => {
  interface CudaBuild {
    cudaGoal: (
      sources: string[],
      tests: boolean,
    ) => { inputs: string[]; outputs: string[]; targets: string[] };
  }
  const sources = [
    'native/cuda/cuda_backend.cc',
    'native/test/cuda/cuda_ops_test.cc',
    'native/test/engine_test.cc',
    'native/test/tiny_model.h',
    'bench/kernels/cuda_bench.h',
  ];

  it('depends on the tests only where it holds them, and never on those of the CPU', async () => {
    const { cudaGoal } = await loadScript<CudaBuild>('cuda-build.mjs');
    assert.deepEqual(cudaGoal(sources, false), {
      inputs: [sources[0]],
      outputs: ['build/cuda/skein_cuda.node'],
      targets: ['skein_cuda_addon'],
    });
    const withTests = cudaGoal(sources, true);
    assert.deepEqual(withTests.inputs, [sources[0], sources[1], sources[3], sources[4]]);
    assert.deepEqual(withTests.targets, [
      'skein_cuda_addon',
      'cuda_tests',
      'cuda_kernel_bench',
      'cuda_collective_bench',
    ]);
    assert.ok(withTests.outputs.includes('build/cuda/cuda_collective_bench'));
  });

  it("compiles for what the native build's default says", async () => {
    const { DEFAULT_ARCHITECTURES } = await loadScript<{ DEFAULT_ARCHITECTURES: string }>('cuda-build.mjs');
    const cmake = readFileSync(repoPath('native', 'CMakeLists.txt'), 'utf8');
    assert.ok(cmake.includes(`SKEIN_CUDA_ARCHITECTURES "${DEFAULT_ARCHITECTURES}" CACHE`));
  });
});
