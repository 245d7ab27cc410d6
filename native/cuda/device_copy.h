// Copies that have arrived when the call returns. cudaMemcpy does not promise that: a copy from
// pageable memory may still be on its way from the driver's buffer, one from device to device has
// only been placed on the default stream, and the streams here do not wait for that one. On a busy
// GPU a first kernel was seen to read what lay there before.
#pragma once

#include <cuda_runtime.h>

#include "core/tensor.h"
#include "cuda/cuda_check.h"

namespace skein::cuda {

inline void CopyAndWait(void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  SKEIN_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  SKEIN_CUDA(cudaStreamSynchronize(nullptr));
}

// The rows of `from`, on the host or a device, one after the other.
inline void CopyRowsAndWait(void* to, const Matrix& from) {
  SKEIN_CUDA(cudaMemcpy2D(to, from.RowBytes(), from.data,
                          static_cast<size_t>(from.stride) * SizeOf(from.type), from.RowBytes(),
                          static_cast<size_t>(from.rows), cudaMemcpyDefault));
  SKEIN_CUDA(cudaStreamSynchronize(nullptr));
}

}  // namespace skein::cuda
