// What the kernels of sampling share: how a row is cut among blocks, loads of four tokens, and the
// best token of a warp.
#pragma once

#include <climits>
#include <cstdint>

#include "cuda/kernels/device_clock.cuh"
#include "cuda/kernels/sampling.h"
#include "cuda/kernels/sampling_math.cuh"

namespace skein::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;

// Where noise is drawn a thread takes four ids, which share one call of the generator. A block's
// part begins at a multiple of 32 ids.
constexpr int kExamineThreads = 256;
constexpr int kGroupsPerThread = 2;
constexpr int kGroupsPerChunk = kExamineThreads * kGroupsPerThread;
constexpr int kTileTokens = 32;
constexpr int kGroupsPerTile = kTileTokens / 4;

// By one thread of a kernel.
__device__ __forceinline__ void BeginClock(const SamplingClock& clock) {
  if (clock.began_ns != nullptr) *clock.began_ns = DeviceNanoseconds();
}
__device__ __forceinline__ void StopClock(const SamplingClock& clock) {
  if (clock.host_ns != nullptr) *clock.host_ns = DeviceNanoseconds() - *clock.began_ns;
}

__device__ __forceinline__ BestToken NoToken() { return {0.0, -FLT_MAX, INT_MAX}; }

__device__ __forceinline__ void TakeHigher(BestToken& best, const BestToken& b) {
  if (b.id == INT_MAX) return;
  if (best.id == INT_MAX || b.value > best.value || (b.value == best.value && b.id < best.id)) {
    best = b;
  }
}

// The best of the warp, in all lanes.
__device__ __forceinline__ void TakeHighestOfWarp(BestToken& best) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    BestToken other;
    other.value = __shfl_xor_sync(kAllLanes, best.value, offset);
    other.logit = __shfl_xor_sync(kAllLanes, best.logit, offset);
    other.id = __shfl_xor_sync(kAllLanes, best.id, offset);
    TakeHigher(best, other);
  }
}

// Of parts[0, count), in all lanes of the warp.
__device__ __forceinline__ BestToken HighestOfParts(const BestToken* parts, int32_t count) {
  BestToken best = NoToken();
  for (int32_t i = static_cast<int32_t>(threadIdx.x % 32); i < count; i += 32) {
    TakeHigher(best, parts[i]);
  }
  TakeHighestOfWarp(best);
  return best;
}

// values[first, first + 4), 0 where that is not within [0, count).
template <typename T>
__device__ __forceinline__ void LoadFour(const T* values, int32_t first, int32_t count,
                                         T (&out)[4]) {
  struct alignas(16) Four {
    T at[4];
  };
  const T* from = values + first;
  if (first >= 0 && first + 4 <= count && reinterpret_cast<uintptr_t>(from) % sizeof(Four) == 0) {
    const Four four = *reinterpret_cast<const Four*>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = four.at[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[i] = first + i >= 0 && first + i < count ? from[i] : T{0};
  }
}

}  // namespace skein::cuda
