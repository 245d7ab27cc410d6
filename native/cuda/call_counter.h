// Counts what the device itself has begun, also in the replays of a recorded graph, which the host
// does not see: a word of the host's that the device writes.
#pragma once

#include <atomic>
#include <cstdint>

#include "cuda/device_memory.h"

namespace skein::cuda {

class CallCounter {
 public:
  CallCounter();
  // Any thread; calls nothing of CUDA's.
  uint64_t value() const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(host_.data()))
        .load(std::memory_order_relaxed);
  }

  // For kernels: the count, and where they write it for the host.
  uint64_t* device_count() const { return count_.As<uint64_t>(); }
  uint64_t* host_word() const { return reinterpret_cast<uint64_t*>(host_.data()); }

 private:
  const DeviceMemory count_{sizeof(uint64_t)};
  const PinnedMemory host_{sizeof(uint64_t)};
};

}  // namespace skein::cuda
