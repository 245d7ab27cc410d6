// RMSNorm and LayerNorm, fused with the residual: bound by memory, or, of few rows, by latency.

#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/float8_parts.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/norm_parts.cuh"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;

// One block a row; thread t has columns 8 (v threads + t) .. + 7 for v < kVectors, in registers
// from the first read to the last write. The number of threads follows from the columns alone, and
// so do the bits.
template <typename Input, bool kResidual, int kVectors>
__global__ void __launch_bounds__(1024)
    NormKernel(const Input* x, int64_t x_stride, const float* bias, const float* scale,
               float* residual, int64_t residual_stride, NormArguments norm, bool has_norm,
               int64_t cols, __nv_bfloat16* normed, int64_t normed_stride) {
  __shared__ float parts[3][32];
  LetNextStart();
  const int64_t row = blockIdx.x;
  const Input* in = x + row * x_stride;
  const auto col_of = [](int v) {
    return (static_cast<int64_t>(v) * blockDim.x + threadIdx.x) * 8;
  };
  // Weights do not change while steps run, so they come before the wait; with more than one vector
  // a thread the registers are needed for the values.
  float weight[8];
  if (kVectors == 1 && has_norm && col_of(0) < cols) {
    LoadEightFloats(norm.weight + col_of(0), weight);
  }
  WaitForPrevious();

  float values[kVectors][8] = {};
  float sum = 0.0f;
  float squares = 0.0f;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int64_t col = col_of(v);
    if (col >= cols) break;
    LoadValues(in + col, values[v]);
    if constexpr (kResidual) {
      float* place = residual + row * residual_stride + col;
      float old[8];
      LoadEightFloats(place, old);
      AddToResidual(bias == nullptr ? nullptr : bias + col,
                    scale == nullptr ? nullptr : scale + col, old, values[v]);
      StoreEightFloats(place, values[v]);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      sum += values[v][i];
      squares = fmaf(values[v][i], values[v][i], squares);
    }
  }
  if (!has_norm) return;
  float mean = 0.0f;
  float inverse;
  if (norm.is_layer_norm) {
    mean = BlockSum(sum, parts[0]) / static_cast<float>(cols);
    // Second pass over the centred values: the one-pass form cancels badly where the mean is large.
    float centred = 0.0f;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      if (col_of(v) >= cols) break;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float d = values[v][i] - mean;
        centred = fmaf(d, d, centred);
      }
    }
    inverse = rsqrtf(BlockSum(centred, parts[1]) / static_cast<float>(cols) + norm.eps);
  } else {
    inverse = rsqrtf(BlockSum(squares, parts[0]) / static_cast<float>(cols) + norm.eps);
  }
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int64_t col = col_of(v);
    if (col >= cols) break;
    if (kVectors > 1) LoadEightFloats(norm.weight + col, weight);
    Normalize(mean, inverse, weight, norm.bias == nullptr ? nullptr : norm.bias + col, values[v]);
    const Eight rounded = Pack(values[v]);
    if (normed != nullptr) StoreEight(normed + row * normed_stride + col, rounded);
    Unpack(rounded, values[v]);
  }
  if (norm.quantized.codes == nullptr) return;
  float largest = 0.0f;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (col_of(v) < cols) largest = LargestOf(values[v], largest);
  }
  const float float8_scale = DeviceFloat8Scale(BlockLargest(largest, parts[2]));
  const float float8_inverse = __fdiv_rn(1.0f, float8_scale);
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (col_of(v) >= cols) break;
    *reinterpret_cast<uint2*>(norm.quantized.codes + row * cols + col_of(v)) =
        ToFloat8(values[v], float8_inverse);
  }
  if (threadIdx.x == 0) norm.quantized.scales[row] = float8_scale;
}

// The same for any width, one value at a time; the row's values stay in shared memory: [cols].
template <typename Input, bool kResidual>
__global__ void __launch_bounds__(kThreads)
    AnyWidthNormKernel(const Input* x, int64_t x_stride, const float* bias, const float* scale,
                       float* residual, int64_t residual_stride, NormArguments norm, bool has_norm,
                       int64_t cols, __nv_bfloat16* normed, int64_t normed_stride) {
  extern __shared__ float row_values[];
  __shared__ float parts[2][32];
  LetNextStart();
  WaitForPrevious();
  const int64_t row = blockIdx.x;
  float sum = 0.0f;
  float squares = 0.0f;
  for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
    float value = static_cast<float>(x[row * x_stride + col]);
    if constexpr (kResidual) {
      float* place = residual + row * residual_stride + col;
      if (bias != nullptr) value += bias[col];
      if (scale != nullptr) value *= scale[col];
      value += *place;
      *place = value;
    }
    row_values[col] = value;
    sum += value;
    squares = fmaf(value, value, squares);
  }
  if (!has_norm) return;
  float mean = 0.0f;
  float inverse;
  if (norm.is_layer_norm) {
    mean = BlockSum(sum, parts[0]) / static_cast<float>(cols);
    float centred = 0.0f;
    for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
      const float d = row_values[col] - mean;
      centred = fmaf(d, d, centred);
    }
    inverse = rsqrtf(BlockSum(centred, parts[1]) / static_cast<float>(cols) + norm.eps);
  } else {
    inverse = rsqrtf(BlockSum(squares, parts[0]) / static_cast<float>(cols) + norm.eps);
  }
  // Each thread reads back only what it wrote itself.
  for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
    float value = (row_values[col] - mean) * inverse * norm.weight[col];
    if (norm.bias != nullptr) value += norm.bias[col];
    normed[row * normed_stride + col] = __float2bfloat16(value);
  }
}

constexpr int64_t kMostVectors = 4;

bool FitsRegisters(int64_t cols, int64_t x_stride, int64_t residual_stride, int64_t normed_stride) {
  return IsVector(cols, {x_stride, residual_stride, normed_stride}) &&
         cols <= kMostVectors * 1024 * 8;
}

template <bool kResidual, typename Input>
void LaunchNorm(const Input* x, int64_t x_stride, const float* bias, const float* scale,
                float* residual, int64_t residual_stride, const NormArguments* norm, int64_t rows,
                int64_t cols, __nv_bfloat16* normed, int64_t normed_stride, Stream& stream) {
  const NormArguments arguments = norm == nullptr ? NormArguments{} : *norm;
  const auto launch = [&](auto kernel, int64_t threads, size_t shared_bytes) {
    LaunchOverlapped(kernel, dim3(Blocks(rows)), dim3(Blocks(threads)), shared_bytes, stream, x,
                     x_stride, bias, scale, residual, residual_stride, arguments, norm != nullptr,
                     cols, normed, normed_stride);
  };
  if (!FitsRegisters(cols, x_stride, residual_stride, normed_stride)) {
    SKEIN_CHECK(arguments.quantized.codes == nullptr, "a norm of %lld columns to float8",
                static_cast<long long>(cols));
    const size_t bytes = static_cast<size_t>(cols) * sizeof(float);
    if (bytes > 40 * 1024) {
      SKEIN_CUDA(cudaFuncSetAttribute(AnyWidthNormKernel<Input, kResidual>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(bytes)));
    }
    launch(AnyWidthNormKernel<Input, kResidual>, kThreads, bytes);
    return;
  }
  const auto threads = [&](int64_t vectors) {
    const int64_t wanted = (cols / 8 + vectors - 1) / vectors;
    return (wanted + 31) / 32 * 32;
  };
  if (threads(1) <= 1024) {
    launch(NormKernel<Input, kResidual, 1>, threads(1), 0);
  } else if (threads(2) <= 1024) {
    launch(NormKernel<Input, kResidual, 2>, threads(2), 0);
  } else {
    launch(NormKernel<Input, kResidual, kMostVectors>, threads(kMostVectors), 0);
  }
}

}  // namespace

bool NormQuantizes(int64_t cols, int64_t x_stride, int64_t residual_stride, int64_t normed_stride) {
  return cols % 16 == 0 && FitsRegisters(cols, x_stride, residual_stride, normed_stride);
}

void Norm(const float* x, int64_t x_stride, const NormArguments& norm, int64_t rows, int64_t cols,
          __nv_bfloat16* normed, int64_t normed_stride, Stream& stream) {
  if (rows == 0) return;
  LaunchNorm<false>(x, x_stride, nullptr, nullptr, nullptr, 0, &norm, rows, cols, normed,
                    normed_stride, stream);
}

template <typename Input>
void AddResidualNorm(const Input* x, int64_t x_stride, const float* bias, const float* scale,
                     float* residual, int64_t residual_stride, const NormArguments* norm,
                     int64_t rows, int64_t cols, __nv_bfloat16* normed, int64_t normed_stride,
                     Stream& stream) {
  if (rows == 0) return;
  LaunchNorm<true>(x, x_stride, bias, scale, residual, residual_stride, norm, rows, cols, normed,
                   normed_stride, stream);
}
template void AddResidualNorm(const float*, int64_t, const float*, const float*, float*, int64_t,
                              const NormArguments*, int64_t, int64_t, __nv_bfloat16*, int64_t,
                              Stream&);
template void AddResidualNorm(const __nv_bfloat16*, int64_t, const float*, const float*, float*,
                              int64_t, const NormArguments*, int64_t, int64_t, __nv_bfloat16*,
                              int64_t, Stream&);

}  // namespace skein::cuda
