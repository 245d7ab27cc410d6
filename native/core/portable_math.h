// Arithmetic of sampling with the same bits on every processor and device: plain IEEE operations in
// one order, written once for the CPU's vector loops and for device code. Only for files that are
// compiled without fused multiply-add.
#pragma once

#include <bit>
#include <cstdint>

#if defined(__CUDACC__)
#define SKEIN_PORTABLE __host__ __device__ __forceinline__
#else
#define SKEIN_PORTABLE inline __attribute__((always_inline))
#endif

namespace skein {

// Bits of numbers and numbers of bits.
SKEIN_PORTABLE uint32_t BitsOf(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}
SKEIN_PORTABLE float FloatOf(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
SKEIN_PORTABLE uint64_t BitsOf(double x) {
#if defined(__CUDA_ARCH__)
  return static_cast<uint64_t>(__double_as_longlong(x));
#else
  return std::bit_cast<uint64_t>(x);
#endif
}
SKEIN_PORTABLE double DoubleOf(uint64_t bits) {
#if defined(__CUDA_ARCH__)
  return __longlong_as_double(static_cast<long long>(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}
// An integer below 2^52, exactly.
SKEIN_PORTABLE double ToDouble(uint64_t value) {
#if defined(__CUDA_ARCH__)
  return static_cast<double>(value);
#else
  // Without an instruction that only some machines have.
  return DoubleOf(uint64_t{0x4330000000000000} | value) - 0x1p52;
#endif
}
SKEIN_PORTABLE double ToDouble(uint32_t value) {
#if defined(__CUDA_ARCH__)
  return static_cast<double>(value);
#else
  return ToDouble(uint64_t{value});
#endif
}

// Philox4x32-10 (sampling/noise.h): the counter (c0, c1, c2, c3) becomes the result.
SKEIN_PORTABLE void PhiloxRounds(uint64_t seed, uint32_t& c0, uint32_t& c1, uint32_t& c2,
                                 uint32_t& c3) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
#if defined(__CUDA_ARCH__)
#pragma unroll
#else
#pragma GCC unroll 10
#endif
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c0;
    const uint64_t b = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Natural logarithm of a positive normal number, to about 1e-15 relative: x = 2^e * m with m in
// [sqrt(1/2), sqrt(2)), ln m by the series in s = (m - 1) / (m + 1) with the coefficients of
// fdlibm's e_log.c.
SKEIN_PORTABLE double NaturalLog(double x) {
  const uint64_t bits = BitsOf(x);
  const uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const uint64_t biased = (bits - sqrt_half + (uint64_t{1024} << 52)) >> 52;  // e + 1024
  const double e = ToDouble(biased) - 1024.0;
  const double f = DoubleOf(bits - ((biased - 1024) << 52)) - 1.0;
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

// The noise of a random word (sampling/noise.h).
SKEIN_PORTABLE double GumbelOf(uint32_t word) {
  const double u = (ToDouble(word) + 0.5) * 0x1p-32;
  return -NaturalLog(-NaturalLog(u));
}

// exp(d) for d <= 0, to about 1e-7 relative, 0 below -87: 2^n * e^r with r within ln(2) / 2 of 0.
SKEIN_PORTABLE float ExpNonPositive(float d) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
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
  const uint32_t exponent = BitsOf(shifted) - BitsOf(magic) + 127u;
  const float result = p * FloatOf(exponent << 23);
#if defined(__CUDA_ARCH__)
  return d >= -87.0f ? result : 0.0f;
#else
  // A mask, not a choice: the compiler would make a branch of that, and no vector loop.
  return FloatOf(BitsOf(result) & (0u - static_cast<uint32_t>(d >= -87.0f)));
#endif
}

// Rounds p in [0, 1] to units of 2^-42.
SKEIN_PORTABLE uint64_t ToMass(float p) {
  const double magic = 0x1.8p52;
  return BitsOf(static_cast<double>(p) * 0x1p42 + magic) - BitsOf(magic);
}

}  // namespace skein
