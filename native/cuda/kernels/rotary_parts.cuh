// Rotating pairs of a head's dimensions by a position, wherever that happens: each operation is
// written out, so that all kernels give the same bits.
#pragma once

#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

// Cosine and sine of pair `pair` at a position.
__device__ __forceinline__ float2 TurnOf(float position, const float* inverse_frequencies,
                                         int pair) {
  float sine, cosine;
  sincosf(__fmul_rn(position, inverse_frequencies[pair]), &sine, &cosine);
  return make_float2(cosine, sine);
}

__device__ __forceinline__ void Turn(const float2& turn, float& x, float& y) {
  const float low = __fmaf_rn(x, turn.x, -__fmul_rn(y, turn.y));
  y = __fmaf_rn(y, turn.x, __fmul_rn(x, turn.y));
  x = low;
}

}  // namespace skein::cuda
