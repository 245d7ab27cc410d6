// The arithmetic of sampling on the device: noise, masses and the order of tokens, operation by
// operation as on the host. Only for files that are compiled without fused multiply-add.
#pragma once

#include <cfloat>
#include <cstdint>

#include "core/portable_math.h"

namespace skein::cuda {

// Philox4x32-10, as in sampling/noise.h.
__device__ __forceinline__ void Philox(uint64_t seed, uint32_t (&c)[4]) {
  PhiloxRounds(seed, c[0], c[1], c[2], c[3]);
}

// exp(d) in units of 2^-42. Below -31 (2^-43 is exp(-29.8)) that is nothing.
__device__ __forceinline__ unsigned long long MassOf(float d) {
  if (!(d >= -31.0f)) return 0;
  return ToMass(ExpNonPositive(d));
}

__device__ __forceinline__ float Clamped(float x) {
  x = x > -FLT_MAX ? x : -FLT_MAX;
  return x < FLT_MAX ? x : FLT_MAX;
}

// An integer that grows with the number; above 0 for every finite one, and lower for -0 than for 0.
__device__ __forceinline__ uint32_t OrderedBits(float x) {
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float FromOrderedBits(uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}
// The same, but equal for both zeros, as the order of tokens wants it.
__device__ __forceinline__ uint32_t OrderKey(float x) { return OrderedBits(x + 0.0f); }

// An integer that is higher for what comes first: the higher key, of equals the lower index (below
// 2^24).
constexpr int kPlaceBits = 24;
__device__ __forceinline__ uint64_t PlaceOf(uint32_t key, int32_t index) {
  return (static_cast<uint64_t>(key) << kPlaceBits) | (0xFFFFFFu - static_cast<uint32_t>(index));
}
__device__ __forceinline__ int32_t IndexOf(uint64_t place) {
  return static_cast<int32_t>(0xFFFFFFu - (static_cast<uint32_t>(place) & 0xFFFFFFu));
}

}  // namespace skein::cuda
