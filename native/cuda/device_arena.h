// Device memory that is handed out piece by piece and given back as a whole: weights, activations.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda/device_memory.h"

namespace skein::cuda {

class DeviceArena {
 public:
  // Aligned to 256 bytes; valid until Reset. Throws DEVICE_OUT_OF_MEMORY.
  void* Allocate(size_t bytes);
  template <typename T>
  T* New(size_t count) {
    return static_cast<T*>(Allocate(count * sizeof(T)));
  }
  // Nothing of it may be in use any more.
  void Reset();
  // Handed out since the last Reset, alignment included.
  size_t bytes() const { return bytes_; }

 private:
  std::vector<DeviceMemory> pieces_;
  size_t bytes_ = 0;
};

}  // namespace skein::cuda
