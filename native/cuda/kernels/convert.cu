// Block (row, run of columns); a thread's neighbours read and write neighbouring elements.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "cuda/cuda_check.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/launch.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsPerBlock = 2048;

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float ToFloat(__half value) { return __half2float(value); }

__device__ __forceinline__ void Put(float* place, float value) { *place = value; }
__device__ __forceinline__ void Put(__nv_bfloat16* place, float value) {
  *place = __float2bfloat16_rn(value);
}

template <typename From, typename To>
__global__ void ConvertKernel(const From* source, int64_t source_stride, int64_t cols, To* dest,
                              int64_t dest_stride) {
  const int64_t row = blockIdx.x;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * kColumnsPerBlock;
  const int64_t end = min(begin + kColumnsPerBlock, cols);
  for (int64_t col = begin + threadIdx.x; col < end; col += kThreads) {
    Put(dest + row * dest_stride + col, ToFloat(source[row * source_stride + col]));
  }
}

template <typename From>
void Launch(const Matrix& source, const Matrix& dest, Stream& stream) {
  const dim3 grid(static_cast<unsigned>(source.rows),
                  static_cast<unsigned>((source.cols + kColumnsPerBlock - 1) / kColumnsPerBlock));
  const auto launch = [&](auto* values) {
    using To = std::remove_pointer_t<decltype(values)>;
    LaunchPlain(ConvertKernel<From, To>, grid, dim3(kThreads), 0, stream, source.As<const From>(),
                source.stride, source.cols, values, dest.stride);
  };
  if (dest.type == DType::kBFloat16) {
    launch(dest.As<__nv_bfloat16>());
  } else {
    SKEIN_CHECK(dest.type == DType::kFloat32, "to %s", Name(dest.type));
    launch(dest.As<float>());
  }
}

}  // namespace

void ConvertRows(const Matrix& source, const Matrix& dest, Stream& stream) {
  SKEIN_CHECK(source.rows == dest.rows && source.cols == dest.cols, "conversion between shapes");
  if (source.rows == 0 || source.cols == 0) return;
  switch (source.type) {
    case DType::kFloat32:
      return Launch<float>(source, dest, stream);
    case DType::kBFloat16:
      return Launch<__nv_bfloat16>(source, dest, stream);
    case DType::kFloat16:
      return Launch<__half>(source, dest, stream);
    case DType::kInt32:
    case DType::kFloat8E4M3:
      break;
  }
  SKEIN_CHECK(false, "from %s to %s", Name(source.type), Name(dest.type));
}

}  // namespace skein::cuda
