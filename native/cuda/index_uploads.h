// Lists of rows that the host gives to one call, on their way to the device.
#pragma once

#include <cstdint>
#include <span>

#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/stream.h"

namespace skein::cuda {

class IndexUploads {
 public:
  // So many indices of a list need no memory later.
  void Reserve(int64_t count) {
    for (DeviceMemory& memory : lists_) {
      memory = DeviceMemory(static_cast<size_t>(count) * sizeof(int32_t));
    }
  }
  // Pageable memory, so the copy has been taken when this returns. `which`: 0, or 1 for the call's
  // second list.
  const int32_t* Send(std::span<const int32_t> indices, int which, Stream& stream) {
    DeviceMemory& memory = lists_[which];
    if (memory.bytes() < indices.size_bytes()) {
      stream.Synchronize();
      memory = DeviceMemory(indices.size_bytes() * 2);
    }
    SKEIN_CUDA(cudaMemcpyAsync(memory.data(), indices.data(), indices.size_bytes(),
                               cudaMemcpyHostToDevice, stream.ForDriver()));
    return memory.As<int32_t>();
  }

 private:
  DeviceMemory lists_[2];
};

}  // namespace skein::cuda
