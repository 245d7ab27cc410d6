// Kernels that stand in for those of a library, at their worst: launched programmatically, so that
// they may start while the kernel in front still runs, and waiting for nothing. They take a bare
// stream, as a library does.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace skein::test {

// *differences += the 4-byte words of `data` that are not those of `expected`.
void CountDifferences(const void* data, const void* expected, size_t bytes,
                      unsigned long long* differences, cudaStream_t stream);
// Copies, as NCCL's all-gather does.
void CopyAtOnce(void* to, const void* from, size_t bytes, cudaStream_t stream);
// Copies only after `microseconds`, having let the next kernel start at once.
void CopyLate(void* to, const void* from, size_t bytes, int microseconds, cudaStream_t stream);

}  // namespace skein::test
