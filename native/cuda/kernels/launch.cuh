// Launches that overlap: on Hopper a kernel may be set up, and read what no earlier kernel writes
// (weights), while the one before it drains (programmatic dependent launch). It works inside CUDA
// graphs.
//
// The rule that keeps it safe: a kernel launched by LaunchOverlapped calls WaitForPrevious() in
// every thread block, before its first access to memory that another kernel writes or reads, and
// before it returns. A kernel that has ended has then waited for all kernels before it, so that
// waiting for the one before is waiting for all.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "cuda/cuda_check.h"

namespace skein::cuda {

// Until here a kernel may touch only what nobody writes while steps run.
__device__ __forceinline__ void WaitForPrevious() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel's blocks may take the places that this one's leave free. Early: they wait by
// themselves.
__device__ __forceinline__ void LetNextStart() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Whether the current device overlaps launches; others run one kernel after the other.
inline bool OverlapsLaunches() {
  int device = 0, major = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major >= 9;
}

// Blocks in clusters of `cluster`, which only Hopper has.
template <typename... Parameters, typename... Arguments>
void LaunchOverlappedClusters(void (*kernel)(Parameters...), int cluster, dim3 grid, dim3 block,
                              size_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (OverlapsLaunches()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  SKEIN_CUDA(cudaLaunchKernelEx(&config, kernel,
                                static_cast<Parameters>(std::forward<Arguments>(arguments))...));
}

template <typename... Parameters, typename... Arguments>
void LaunchOverlapped(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                      cudaStream_t stream, Arguments&&... arguments) {
  LaunchOverlappedClusters(kernel, 1, grid, block, shared_bytes, stream,
                           std::forward<Arguments>(arguments)...);
}

}  // namespace skein::cuda
