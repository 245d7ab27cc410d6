// What attention over codes multiplies, both of which have every value of a code: in decodes
// float16, as which queries and weights come, too, and in tiled attention bfloat16.
#pragma once

#include <cstdint>

#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

// Codes 2 kPair and 2 kPair + 1 of four to float16: one instruction from sm_89 on. Before, their
// bits become the lower ones of float16's exponent and mantissa, and a product with 2^8 sets the
// exponent right, which counts from 15 instead of 7; then NaN, which the cache does not hold,
// becomes 480.
template <int kPair>
__device__ __forceinline__ uint32_t WidenPair(uint32_t four) {
  uint32_t pair;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  if constexpr (kPair == 0) {
    asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.rn.f16x2.e4m3x2 %0, low;\n}\n"
        : "=r"(pair)
        : "r"(four));
  } else {
    asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\ncvt.rn.f16x2.e4m3x2 %0, high;\n}\n"
        : "=r"(pair)
        : "r"(four));
  }
#else
  const uint32_t upper = __byte_perm(four, 0, kPair == 0 ? 0x1404 : 0x3424);
  const uint32_t bits = (upper & 0x80008000u) | ((upper & 0x7f007f00u) >> 1);
  asm("mul.rn.f16x2 %0, %1, %2;\n" : "=r"(pair) : "r"(bits), "r"(0x5c005c00u));
#endif
  return pair;
}

// Two codes, each the upper byte of a half word, to bfloat16: their four bits of exponent and three
// of mantissa become the lower ones of bfloat16's, whose exponent counts from 127, not from 7. The
// product sets that right, of subnormal ones too; it is exact. NaN, which the cache does not hold,
// becomes 480.
__device__ __forceinline__ __nv_bfloat162 WidenTwo(uint32_t codes) {
  const uint32_t bits = (codes & 0x80008000u) | ((codes & 0x7f007f00u) >> 4);
  constexpr uint32_t kTwoTo120 = 0x7b807b80u;
  const uint32_t factors = kTwoTo120;
  return __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&bits),
                 *reinterpret_cast<const __nv_bfloat162*>(&factors));
}

__device__ __forceinline__ Eight WidenEight(const uint2& codes) {
  Eight eight;
  eight.pairs[0] = WidenTwo(__byte_perm(codes.x, 0, 0x1404));
  eight.pairs[1] = WidenTwo(__byte_perm(codes.x, 0, 0x3424));
  eight.pairs[2] = WidenTwo(__byte_perm(codes.y, 0, 0x1404));
  eight.pairs[3] = WidenTwo(__byte_perm(codes.y, 0, 0x3424));
  return eight;
}

// By a warp, in shared memory: kRows rows of kD codes, one after the other, to rows kStride apart.
// Eight at a time: neither side has bank conflicts.
template <int kD, int kRows, int kStride>
__device__ __forceinline__ void WidenRows(__nv_bfloat16* to, const uint8_t* codes) {
  constexpr int kPieces = kD / 8;
  static_assert(kRows * kPieces % 32 == 0);
  const int lane = threadIdx.x % 32;
#pragma unroll 4
  for (int i = 0; i < kRows * kPieces / 32; ++i) {
    const int piece = i * 32 + lane;
    StoreEight(to + piece / kPieces * kStride + piece % kPieces * 8,
               WidenEight(*reinterpret_cast<const uint2*>(codes + piece * 8)));
  }
}

// Four columns of a head's query from `from` on.
template <bool kAligned>
__device__ __forceinline__ void LoadFour(float (&to)[4], const __nv_bfloat16* from) {
  if constexpr (kAligned) {
    const uint2 four = *reinterpret_cast<const uint2*>(from);
    const float2 low = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(four.x));
    const float2 high = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(four.y));
    to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = __bfloat162float(from[i]);
  }
}

// A head's query as float16, four columns a lane: times the power of two that brings its largest
// magnitude to 2^14 .. 2^15, which its scores lose again, times `undo`, in float32. What is within
// 2^-28 of the largest stays as it was in bfloat16; what is smaller loses less than 2^-39 of the
// largest. What is no number stays that.
struct ScaledQuery {
  uint32_t low, high;  // the first two of the lane's columns, and the others
  float undo;          // the same on every lane

  __device__ __forceinline__ explicit ScaledQuery(const float (&x)[4]) {
    uint32_t largest = 0;
#pragma unroll
    for (const float value : x) largest = max(largest, __float_as_uint(value) & 0x7fffffffu);
    largest = __reduce_max_sync(0xffffffffu, largest);
    // Exponents as float32 has them.
    constexpr int kOfOne = 127;
    const int exponent = min(2 * kOfOne + 14 - static_cast<int>(largest >> 23), 2 * kOfOne - 1);
    const float factor = __int_as_float(exponent << 23);
    undo = __int_as_float((2 * kOfOne - exponent) << 23);
    low = PackFloat16(x[0] * factor, x[1] * factor);
    high = PackFloat16(x[2] * factor, x[3] * factor);
  }
};

// A weight and its value's scale are one number, which is float16, too: softmax is over score +
// log2 of the scale, so that the largest product of both is 1 and no scale takes float16's range
// away; the sum of weights is that of the products by the scales. So the scales of a head's context
// may differ by 2^100, and those below kLeastScale count as that.
struct ValueFactors {
  static constexpr float kLeastScale = 0x1p-100f;
  float log, inverse;

  // What is no number passes.
  __device__ __forceinline__ explicit ValueFactors(float scale)
      : log(Log2(scale < kLeastScale ? kLeastScale : scale)), inverse(PowerOfTwo(-log)) {}
};

}  // namespace skein::cuda
