// Eight values a thread to float8, and the largest magnitude of a block.
#pragma once

#include <cuda_fp8.h>

#include "core/float8.h"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

__device__ __forceinline__ float LargestOf(const float (&values)[8], float largest) {
#pragma unroll
  for (int i = 0; i < 8; ++i) largest = fmaxf(largest, fabsf(values[i]));
  return largest;
}

// The same on every thread. `parts` [32] is this one's own.
__device__ __forceinline__ float BlockLargest(float value, float* parts) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  float largest = 0.0f;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) largest = fmaxf(largest, parts[i]);
  return largest;
}

__device__ __forceinline__ float DeviceFloat8Scale(float largest) {
  return largest > 0.0f ? __fdiv_rn(largest, kFloat8Max) : 1.0f;
}

// inverse: the scale's reciprocal.
__device__ __forceinline__ uint8_t ToFloat8(float value, float inverse) {
  return __nv_cvt_float_to_fp8(__fmul_rn(value, inverse), __NV_SATFINITE, __NV_E4M3);
}

__device__ __forceinline__ uint2 ToFloat8(const float (&values)[8], float inverse) {
  uint32_t pairs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    pairs[i] = __nv_cvt_float2_to_fp8x2(
        make_float2(__fmul_rn(values[2 * i], inverse), __fmul_rn(values[2 * i + 1], inverse)),
        __NV_SATFINITE, __NV_E4M3);
  }
  return make_uint2(pairs[0] | pairs[1] << 16, pairs[2] | pairs[3] << 16);
}

}  // namespace skein::cuda
