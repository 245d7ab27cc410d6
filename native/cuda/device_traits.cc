// Asks CUDA for what plans depend on.
#include "cuda/kernels/device_traits.h"

#include "cuda/cuda_check.h"

namespace skein::cuda {

DeviceTraits CurrentDeviceTraits() {
  DeviceTraits device{};
  int index = 0;
  SKEIN_CUDA(cudaGetDevice(&index));
  SKEIN_CUDA(
      cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, index));
  SKEIN_CUDA(
      cudaDeviceGetAttribute(&device.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  int major = 0, minor = 0;
  SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
  SKEIN_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
  device.has_warpgroups = major == 9 && minor == 0;
  return device;
}

}  // namespace skein::cuda
