// Every CUDA, cuBLASLt and NCCL call goes through one of these: a failure becomes a typed Error
// that names the call.
#pragma once

#include <cuda_runtime.h>

#include "core/error.h"

namespace skein::cuda {

inline void CheckCuda(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // Clears a non-sticky error, so that the next launch does not report it
                       // again.
  throw Error(status == cudaErrorMemoryAllocation ? "DEVICE_OUT_OF_MEMORY" : "DEVICE_ERROR",
              Format("%s failed: %s (%s) at %s:%d", call, cudaGetErrorString(status),
                     cudaGetErrorName(status), file, line));
}

}  // namespace skein::cuda

#define SKEIN_CUDA(call) ::skein::cuda::CheckCuda((call), #call, __FILE__, __LINE__)
