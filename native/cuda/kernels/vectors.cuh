// What kernels share: eight values a thread (16 bytes of bfloat16), sums over a block, the host's
// side of both, SiLU and GELU.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <initializer_list>

#include "cuda/kernels/mma.cuh"

namespace skein::cuda {

struct alignas(16) Eight {
  __nv_bfloat162 pairs[4];
};

__device__ __forceinline__ Eight Pack(const float (&values)[8]) {
  Eight raw;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    raw.pairs[i] = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
  return raw;
}

__device__ __forceinline__ void Unpack(const Eight& raw, float (&values)[8]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __bfloat1622float2(raw.pairs[i]);
    values[2 * i] = pair.x;
    values[2 * i + 1] = pair.y;
  }
}

__device__ __forceinline__ Eight LoadEight(const __nv_bfloat16* from) {
  return *reinterpret_cast<const Eight*>(from);
}
__device__ __forceinline__ void StoreEight(__nv_bfloat16* to, const Eight& values) {
  *reinterpret_cast<Eight*>(to) = values;
}

__device__ __forceinline__ void LoadEightFloats(const float* from, float (&values)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
  values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

__device__ __forceinline__ void LoadValues(const float* from, float (&values)[8]) {
  LoadEightFloats(from, values);
}
__device__ __forceinline__ void LoadValues(const __nv_bfloat16* from, float (&values)[8]) {
  Unpack(LoadEight(from), values);
}

__device__ __forceinline__ void StoreEightFloats(float* to, const float (&values)[8]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(values[0], values[1], values[2], values[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(values[4], values[5], values[6], values[7]);
}

__device__ __forceinline__ float Silu(float x) { return x / (1.0f + __expf(-x)); }
// The exact (erf) form: max(x, 0) - |x| Q(|x|), where Q(u) = erfc(u / sqrt(2)) / 2 is two to the
// power of a polynomial that was fitted to log2 Q on 0 .. 5.75, and keeps falling beyond. Within
// 5e-6 of the true value, relatively, from -5.75 on; below, where that is less than 3e-8, within
// 2e-13. The sum 1 + erff(x) cancels there, and takes more than twice the instructions, which a
// product would wait for.
__device__ __forceinline__ float GeluErf(float x) {
  constexpr float kLogTail[] = {-0.99999535f,  -1.15125f,       -0.4584682f,   -0.05395485f,
                                0.0085046003f, -0.00092948799f, 6.1439881e-5f, -1.8254818e-6f};
  const float u = fabsf(x);
  float log_tail = kLogTail[7];
#pragma unroll
  for (int i = 6; i >= 0; --i) log_tail = fmaf(log_tail, u, kLogTail[i]);
  return fmaf(-u, PowerOfTwo(log_tail), fmaxf(x, 0.0f));
}

// Sum over a warp, the same on every lane.
__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

// Sum over the block in a fixed order; every thread gets it. `parts` [32] is this sum's own: a
// second sum in the same kernel takes other memory, so that one barrier is enough.
__device__ __forceinline__ float BlockSum(float value, float* parts) {
  value = WarpSum(value);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0.0f;
  for (unsigned i = 0; i < blockDim.x / 32; ++i) sum += parts[i];
  return sum;
}

// Whether rows of `cols` values at these strides can be read eight at a time.
inline bool IsVector(int64_t cols, std::initializer_list<int64_t> strides) {
  if (cols % 8 != 0) return false;
  for (const int64_t stride : strides) {
    if (stride % 8 != 0) return false;
  }
  return true;
}

inline unsigned Blocks(int64_t count) { return static_cast<unsigned>(count); }
inline unsigned BlocksFor(int64_t count, int64_t per_block) {
  return Blocks((count + per_block - 1) / per_block);
}

}  // namespace skein::cuda
