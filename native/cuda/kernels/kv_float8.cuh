// Rows of float8 codes to bfloat16, which has every value of theirs.
#pragma once

#include <cstdint>

#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

// Two codes, each the upper byte of a half word: their four bits of exponent and three of mantissa
// become the lower ones of bfloat16's, whose exponent counts from 127, not from 7. The product sets
// that right, of subnormal ones too; it is exact. NaN, which the cache does not hold, becomes 480.
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

}  // namespace skein::cuda
