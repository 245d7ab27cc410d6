// Nothing gets round cuda::Stream: kernels of ours overlap, and what is not ours stands behind a fence.
import assert from 'node:assert/strict';
import { readSource, sourceFiles } from '../support/source-files.js';
import { streamViolations } from './device-streams.js';

describe('CUDA streams', () => {
  it('are used through cuda::Stream in every file', () => {
    // A test may stand in for a library; it says so by its name.
    const files = sourceFiles(/^(native|bench\/kernels)\/.*\.(cc|h|cu|cuh)$/).filter(
      (file) => !file.startsWith('native/test/cuda/foreign_'),
    );
    assert.ok(files.includes('native/cuda/stream.h'));
    assert.deepEqual(
      files.flatMap((file) => streamViolations(file, readSource(file))),
      [],
    );
  });

  it('are not got round', () => {
    const forbidden: [string, string][] = [
      ['native/cuda/cuda_backend.cc', 'cudaStream_t raw = nullptr;'],
      ['native/cuda/cuda_backend.cc', 'SKEIN_CUDA(cudaStreamCreateWithFlags(&s, 0));'],
      ['native/cuda/kernels/norms.cu', 'NormKernel<<<1, 2>>>(x);'],
      ['native/cuda/kernels/norms.cu', 'cudaLaunchKernelEx(&config, kernel, x);'],
      ['native/cuda/blas_lt.cc', 'auto raw = stream.ForLibrary();'],
      ['native/cuda/blas_lt.cc', 'f(stream.ForLibrary());'],
      ['native/cuda/blas_lt.cc', 'auto raw = stream.ForDriver();'],
      ['native/collective/nccl_communicator.cc', 'ncclAllReduce(a, b, comm, stream.ForDriver());'],
      ['bench/kernels/cuda_bench_x.cc', 'Run(stream.ForDriver());\ncudaMemcpyAsync(a, b, n, kind, s);'],
    ];
    for (const [file, text] of forbidden)
      assert.equal(streamViolations(file, text).length, 1, `${file}: ${text}`);
  });

  it('go to the driver, and behind a fence to libraries', () => {
    const allowed: [string, string][] = [
      ['native/cuda/cuda_backend.cc', 'SKEIN_CUDA(cudaMemcpyAsync(a, b, n,\n  kind, stream_->ForDriver()));'],
      [
        'native/cuda/cuda_backend.cc',
        '// a cudaStream_t in a comment, and "<<<" in one\nauto x = "cudaStream_t";',
      ],
      [
        'native/cuda/blas_lt.cc',
        'SKEIN_BLAS(cublasLtMatmul(handle, fenced ? on.ForLibrary() : on.ForDriver()));',
      ],
      ['native/collective/nccl_communicator.cc', 'const cudaStream_t fenced = stream.ForLibrary();'],
      ['native/collective/nccl_communicator.cc', 'return ncclAllGather(a, b, n, comm, stream.ForLibrary());'],
    ];
    for (const [file, text] of allowed)
      assert.deepEqual(streamViolations(file, text), [], `${file}: ${text}`);
  });
});
