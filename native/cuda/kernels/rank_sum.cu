// One thread an element; ranks are added in order.
#include <cuda_bf16.h>

#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/rank_sum.h"

namespace skein::cuda {
namespace {

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ void Store(float* place, float value) { *place = value; }
__device__ __forceinline__ void Store(__nv_bfloat16* place, float value) {
  *place = __float2bfloat16(value);
}

template <typename T>
__global__ void SumKernel(const T* gathered, int world_size, int64_t count, T* out) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = ToFloat(gathered[i]);
  for (int rank = 1; rank < world_size; ++rank) sum += ToFloat(gathered[rank * count + i]);
  Store(out + i, sum);
}

}  // namespace

void SumInRankOrder(const void* gathered, int world_size, int64_t count, bool is_bfloat16,
                    void* out, Stream& stream) {
  const auto blocks = static_cast<unsigned>((count + 255) / 256);
  if (is_bfloat16) {
    LaunchPlain(SumKernel<__nv_bfloat16>, dim3(blocks), dim3(256), 0, stream,
                static_cast<const __nv_bfloat16*>(gathered), world_size, count,
                static_cast<__nv_bfloat16*>(out));
  } else {
    LaunchPlain(SumKernel<float>, dim3(blocks), dim3(256), 0, stream,
                static_cast<const float*>(gathered), world_size, count, static_cast<float*>(out));
  }
}

}  // namespace skein::cuda
