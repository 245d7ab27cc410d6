// Calls of the CUDA driver. It is there wherever the runtime works, but is not linked: the addon
// has to load, and to say what is missing, on a machine without it.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

namespace skein::cuda {

// *call = the driver's function of that name, which CUDA 12.0 has; false where there is none.
template <typename Call>
bool FindDriverCall(const char* name, Call* call) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result);
#else
  const cudaError_t status = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result);
#endif
  if (status != cudaSuccess || result != cudaDriverEntryPointSuccess) {
    cudaGetLastError();
    return false;
  }
  *call = reinterpret_cast<Call>(found);
  return true;
}

}  // namespace skein::cuda
