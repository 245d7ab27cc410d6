// The arithmetic of sampling on the device: noise, masses and the order of tokens, operation by
// operation as on the host. Only for files that are compiled without fused multiply-add.
#pragma once

#include <cfloat>
#include <cstdint>

namespace skein::cuda {

// Philox4x32-10, as in cpu/sampling_noise.h.
__device__ __forceinline__ void Philox(uint64_t seed, uint32_t (&c)[4]) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0;
    c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
    c[1] = static_cast<uint32_t>(b);
    c[3] = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// The series of cpu/sampling_noise.cc.
__device__ __forceinline__ double NaturalLog(double x) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(x));
  const uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const uint64_t biased = (bits - sqrt_half + (uint64_t{1024} << 52)) >> 52;
  const double e = static_cast<double>(biased) - 1024.0;
  const double f =
      __longlong_as_double(static_cast<long long>(bits - ((biased - 1024) << 52))) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  return e * 0.693147180559945309417 + (2.0 * s + s * (z * r));
}

__device__ __forceinline__ double Gumbel(uint32_t word) {
  const double u = (static_cast<double>(word) + 0.5) * 0x1p-32;
  return -NaturalLog(-NaturalLog(u));
}

// exp(d) for d <= 0: the series of cpu/sampling_kernels.cc.
__device__ __forceinline__ float ExpNonPositive(float d) {
  const float magic = 12582912.0f;
  const float shifted = d * 1.44269504088896341f + magic;
  const float n = shifted - magic;
  const float r = (d - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t exponent = __float_as_uint(shifted) - __float_as_uint(magic) + 127u;
  const float result = p * __uint_as_float(exponent << 23);
  return d >= -87.0f ? result : 0.0f;
}

// exp(d) in units of 2^-42, rounded as cpu/sampling_kernels.cc rounds it. Below -31 (2^-43 is
// exp(-29.8)) that is nothing.
__device__ __forceinline__ unsigned long long MassOf(float d) {
  if (!(d >= -31.0f)) return 0;
  const double magic = 0x1.8p52;
  return static_cast<unsigned long long>(
      __double_as_longlong(static_cast<double>(ExpNonPositive(d)) * 0x1p42 + magic) -
      __double_as_longlong(magic));
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
