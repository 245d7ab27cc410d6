#include "cuda/device_arena.h"

namespace skein::cuda {

void* DeviceArena::Allocate(size_t bytes) {
  pieces_.emplace_back(bytes);
  bytes_ += (bytes + 255) / 256 * 256;
  return pieces_.back().data();
}

void DeviceArena::Reset() {
  pieces_.clear();
  bytes_ = 0;
}

}  // namespace skein::cuda
