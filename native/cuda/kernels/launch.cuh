// Launches of kernels of ours, the only ones there are.
//
// Launches that overlap: on Hopper a kernel may be set up, and read what no earlier kernel writes
// (weights), while the one before it drains (programmatic dependent launch). It works inside CUDA
// graphs.
//
// The rule that keeps it safe has two halves. A kernel launched by LaunchOverlapped calls
// WaitForPrevious() in every thread block, before its first access to memory that another kernel
// writes or reads, and before it returns: a kernel that has ended has then waited for all kernels
// before it, so that waiting for the one before is waiting for all. Only a block that touches no
// such memory may return without, if another one of the same kernel waits. And what is not ours,
// which may not wait, gets the stream only behind a fence (cuda/stream.h).
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "cuda/cuda_check.h"
#include "cuda/stream.h"

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

class KernelLaunch {
 public:
  KernelLaunch(dim3 grid, dim3 block, size_t shared_bytes, Stream& stream) : stream_(stream) {
    config_.gridDim = grid;
    config_.blockDim = block;
    config_.dynamicSmemBytes = shared_bytes;
    config_.stream = stream.stream_;
    config_.attrs = attributes_;
  }

  // May start before the kernel in front of it has ended, where the device can do that.
  KernelLaunch& Overlapped() {
    if (stream_.overlaps_) {
      cudaLaunchAttribute& attribute = Next(cudaLaunchAttributeProgrammaticStreamSerialization);
      attribute.val.programmaticStreamSerializationAllowed = 1;
    }
    return *this;
  }
  // Blocks in clusters, which only Hopper has.
  KernelLaunch& InClusters(int size) {
    Next(cudaLaunchAttributeClusterDimension).val.clusterDim = {static_cast<unsigned>(size), 1, 1};
    return *this;
  }

  template <typename... Parameters, typename... Arguments>
  void Run(void (*kernel)(Parameters...), Arguments&&... arguments) {
    SKEIN_CUDA(cudaLaunchKernelEx(&config_, kernel,
                                  static_cast<Parameters>(std::forward<Arguments>(arguments))...));
  }

 private:
  cudaLaunchAttribute& Next(cudaLaunchAttributeID id) {
    cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = id;
    return attribute;
  }

  Stream& stream_;
  cudaLaunchAttribute attributes_[2] = {};
  cudaLaunchConfig_t config_{};
};

template <typename... Parameters, typename... Arguments>
void LaunchOverlapped(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                      Stream& stream, Arguments&&... arguments) {
  KernelLaunch(grid, block, shared_bytes, stream)
      .Overlapped()
      .Run(kernel, std::forward<Arguments>(arguments)...);
}

template <typename... Parameters, typename... Arguments>
void LaunchOverlappedClusters(void (*kernel)(Parameters...), int cluster, dim3 grid, dim3 block,
                              size_t shared_bytes, Stream& stream, Arguments&&... arguments) {
  KernelLaunch(grid, block, shared_bytes, stream)
      .Overlapped()
      .InClusters(cluster)
      .Run(kernel, std::forward<Arguments>(arguments)...);
}

// Starts when the work before has ended, and ends before the work behind it starts: for kernels
// that call neither of the two above.
template <typename... Parameters, typename... Arguments>
void LaunchPlain(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                 Stream& stream, Arguments&&... arguments) {
  KernelLaunch(grid, block, shared_bytes, stream)
      .Run(kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace skein::cuda
