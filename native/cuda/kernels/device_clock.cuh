// The device's own clock, by which kernels tell what they spent: the host sees a graph only as a
// whole.
#pragma once

#include <cstdint>

namespace skein::cuda {

// The same on all multiprocessors; goes forward in steps of up to a microsecond.
__device__ __forceinline__ uint64_t DeviceNanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

}  // namespace skein::cuda
