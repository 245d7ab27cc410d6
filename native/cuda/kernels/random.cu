// Block (row, run of columns). Multiplication and addition are rounded one by one, as on the host.
#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/random.h"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsPerBlock = 1024;

__device__ __forceinline__ void Put(float* place, float value) { *place = value; }
__device__ __forceinline__ void Put(__nv_bfloat16* place, float value) {
  *place = __float2bfloat16_rn(value);
}

__device__ __forceinline__ void Put(__nv_fp8_e4m3* place, float value) {
  place->__x = __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}

template <typename T>
__global__ void UniformKernel(RandomBlock block, T* dest, int64_t stride) {
  const int64_t row = blockIdx.x;
  const uint64_t key = RowKey(block.key, block.first_row + row);
  T* out = dest + (block.dest_row + row) * stride + block.dest_col;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * kColumnsPerBlock;
  const int64_t end = min(begin + kColumnsPerBlock, block.cols);
  for (int64_t col = begin + threadIdx.x; col < end; col += kThreads) {
    const float unit = UnitOf(RandomBits(key, block.first_col + col));
    Put(out + col, __fadd_rn(block.centre, __fmul_rn(block.spread, unit)));
  }
}

__global__ void WordsKernel(RandomBlock block, uint32_t* dest, int64_t stride) {
  const int64_t row = blockIdx.x;
  const uint64_t key = RowKey(block.key, block.first_row + row);
  uint32_t* out = dest + (block.dest_row + row) * stride + block.dest_col;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * kColumnsPerBlock;
  const int64_t end = min(begin + kColumnsPerBlock, block.cols);
  for (int64_t col = begin + threadIdx.x; col < end; col += kThreads) {
    out[col] = block.kind == RandomBlock::Kind::kZeroPoints
                   ? kZeroPointWord
                   : static_cast<uint32_t>(RandomBits(key, block.first_col + col));
  }
}

}  // namespace

void FillRandomBlock(const RandomBlock& block, const Matrix& dest, Stream& stream) {
  if (block.rows == 0 || block.cols == 0) return;
  const dim3 grid(static_cast<unsigned>(block.rows),
                  static_cast<unsigned>((block.cols + kColumnsPerBlock - 1) / kColumnsPerBlock));
  if (block.kind != RandomBlock::Kind::kUniform) {
    SKEIN_CHECK(dest.type == DType::kInt32, "random words in a matrix of %s", Name(dest.type));
    LaunchPlain(WordsKernel, grid, dim3(kThreads), 0, stream, block, dest.As<uint32_t>(),
                dest.stride);
  } else if (dest.type == DType::kFloat8E4M3) {
    LaunchPlain(UniformKernel<__nv_fp8_e4m3>, grid, dim3(kThreads), 0, stream, block,
                dest.As<__nv_fp8_e4m3>(), dest.stride);
  } else if (dest.type == DType::kBFloat16) {
    LaunchPlain(UniformKernel<__nv_bfloat16>, grid, dim3(kThreads), 0, stream, block,
                dest.As<__nv_bfloat16>(), dest.stride);
  } else {
    SKEIN_CHECK(dest.type == DType::kFloat32, "random values in a matrix of %s", Name(dest.type));
    LaunchPlain(UniformKernel<float>, grid, dim3(kThreads), 0, stream, block, dest.As<float>(),
                dest.stride);
  }
}

}  // namespace skein::cuda
