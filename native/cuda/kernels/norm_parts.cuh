// The arithmetic of the kernels that end in a norm, eight columns a thread: each operation is
// written out, so that all of them give the same bits.
#pragma once

#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

// values = old + scale * (values + bias). bias and scale are those of the eight columns; each may be
// null.
__device__ __forceinline__ void AddToResidual(const float* bias, const float* scale,
                                              const float (&old)[8], float (&values)[8]) {
  if (bias != nullptr) {
    float added[8];
    LoadEightFloats(bias, added);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = __fadd_rn(values[i], added[i]);
  }
  if (scale != nullptr) {
    float factor[8];
    LoadEightFloats(scale, factor);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = __fmaf_rn(values[i], factor[i], old[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = __fadd_rn(values[i], old[i]);
  }
}

// values = (values - mean) * inverse * weight + bias; bias, of the eight columns, may be null.
__device__ __forceinline__ void Normalize(float mean, float inverse, const float (&weight)[8],
                                          const float* bias, float (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] = __fmul_rn(__fsub_rn(values[i], mean), inverse);
  if (bias != nullptr) {
    float added[8];
    LoadEightFloats(bias, added);
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = __fmaf_rn(values[i], weight[i], added[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = __fmul_rn(values[i], weight[i]);
  }
}

}  // namespace skein::cuda
