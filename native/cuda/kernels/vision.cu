// What the vision tower has beside products, norms and attention: pixels to patches, assembling and
// shuffling tokens, q/k norm. Launchers are in elementwise.h.

#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;

struct Channels {
  float mean[3];
  float inverse_std[3];
};

// Block (patch of a tile), threads over the columns.
__global__ void PatchesKernel(const uint8_t* pixels, int64_t side, int64_t patch, Channels channels,
                              __nv_bfloat16* out, int64_t out_stride) {
  const int64_t grid = side / patch;
  const int64_t tile = blockIdx.x / (grid * grid);
  const int64_t index = blockIdx.x % (grid * grid);
  const int64_t top = index / grid * patch;
  const int64_t left = index % grid * patch;
  for (int64_t i = threadIdx.x; i < 3 * patch * patch; i += blockDim.x) {
    const int64_t channel = i / (patch * patch);
    const int64_t y = i / patch % patch;
    const int64_t x = i % patch;
    const float value = pixels[((tile * side + top + y) * side + left + x) * 3 + channel] / 255.0f;
    out[blockIdx.x * out_stride + i] =
        __float2bfloat16((value - channels.mean[channel]) * channels.inverse_std[channel]);
  }
}

__global__ void AssembleKernel(const float* patches, const float* class_embedding,
                               const float* position_embedding, int64_t num_patches, int64_t hidden,
                               float* out) {
  const int64_t tile = blockIdx.x / (num_patches + 1);
  const int64_t token = blockIdx.x % (num_patches + 1);
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    const float value =
        token == 0 ? class_embedding[i] : patches[(tile * num_patches + token - 1) * hidden + i];
    out[blockIdx.x * hidden + i] = value + position_embedding[token * hidden + i];
  }
}

template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    QkSumSquaresKernel(const __nv_bfloat16* qkv, int64_t stride, int64_t width, float* sums) {
  __shared__ float parts[32];
  LetNextStart();
  WaitForPrevious();
  const __nv_bfloat16* part = qkv + blockIdx.x * stride + blockIdx.y * width;
  float sum = 0.0f;
  if constexpr (kVector) {
    for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
      float values[8];
      Unpack(LoadEight(part + i), values);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum = fmaf(values[j], values[j], sum);
    }
  } else {
    for (int64_t i = threadIdx.x; i < width; i += kThreads) {
      const float value = __bfloat162float(part[i]);
      sum = fmaf(value, value, sum);
    }
  }
  sum = BlockSum(sum, parts);
  if (threadIdx.x == 0) sums[blockIdx.x * 2 + blockIdx.y] = sum;
}

template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    ApplyQkNormKernel(__nv_bfloat16* qkv, int64_t stride, const float* sums, const float* q_weight,
                      const float* k_weight, int64_t width, float full_width, float eps) {
  LetNextStart();
  WaitForPrevious();
  __nv_bfloat16* part = qkv + blockIdx.x * stride + blockIdx.y * width;
  const float* weight = blockIdx.y == 0 ? q_weight : k_weight;
  const float inverse = rsqrtf(sums[blockIdx.x * 2 + blockIdx.y] / full_width + eps);
  if constexpr (kVector) {
    for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
      float values[8], factors[8];
      Unpack(LoadEight(part + i), values);
      LoadEightFloats(weight + i, factors);
#pragma unroll
      for (int j = 0; j < 8; ++j) values[j] = values[j] * inverse * factors[j];
      StoreEight(part + i, Pack(values));
    }
  } else {
    for (int64_t i = threadIdx.x; i < width; i += kThreads) {
      part[i] = __float2bfloat16(__bfloat162float(part[i]) * inverse * weight[i]);
    }
  }
}

// Block (output token); copies factor^2 source rows side by side.
__global__ void PixelShuffleKernel(const float* x, int64_t grid, int64_t factor, int64_t hidden,
                                   float* out) {
  const int64_t side = grid / factor;
  const int64_t tile = blockIdx.x / (side * side);
  const int64_t row = blockIdx.x % (side * side) / side;
  const int64_t col = blockIdx.x % side;
  for (int64_t i = threadIdx.x; i < factor * factor * hidden; i += blockDim.x) {
    const int64_t part = i / hidden;
    const int64_t patch = (row * factor + part / factor) * grid + col * factor + part % factor;
    out[blockIdx.x * factor * factor * hidden + i] =
        x[(tile * (grid * grid + 1) + 1 + patch) * hidden + i % hidden];
  }
}

}  // namespace

void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                     const float mean[3], const float std[3], __nv_bfloat16* out,
                     int64_t out_stride, Stream& stream) {
  if (tiles == 0) return;
  Channels channels;
  for (int c = 0; c < 3; ++c) {
    channels.mean[c] = mean[c];
    channels.inverse_std[c] = 1.0f / std[c];
  }
  const int64_t grid = side / patch;
  LaunchPlain(PatchesKernel, dim3(Blocks(tiles * grid * grid)), dim3(128), 0, stream, pixels, side,
              patch, channels, out, out_stride);
}

void AssembleVisionTokens(const float* patches, const float* class_embedding,
                          const float* position_embedding, int64_t tiles, int64_t num_patches,
                          int64_t hidden, float* out, Stream& stream) {
  if (tiles == 0) return;
  LaunchPlain(AssembleKernel, dim3(Blocks(tiles * (num_patches + 1))), dim3(kThreads), 0, stream,
              patches, class_embedding, position_embedding, num_patches, hidden, out);
}

void QkSumSquares(const __nv_bfloat16* qkv, int64_t stride, int64_t rows, int64_t width,
                  float* sums, Stream& stream) {
  if (rows == 0) return;
  const auto kernel =
      IsVector(width, {stride}) ? QkSumSquaresKernel<true> : QkSumSquaresKernel<false>;
  LaunchOverlapped(kernel, dim3(Blocks(rows), 2), dim3(kThreads), 0, stream, qkv, stride, width,
                   sums);
}

void ApplyQkNorm(__nv_bfloat16* qkv, int64_t stride, const float* sums, const float* q_weight,
                 const float* k_weight, int64_t rows, int64_t width, int64_t full_width, float eps,
                 Stream& stream) {
  if (rows == 0) return;
  const auto kernel =
      IsVector(width, {stride}) ? ApplyQkNormKernel<true> : ApplyQkNormKernel<false>;
  LaunchOverlapped(kernel, dim3(Blocks(rows), 2), dim3(kThreads), 0, stream, qkv, stride, sums,
                   q_weight, k_weight, width, static_cast<float>(full_width), eps);
}

void PixelShuffle(const float* x, int64_t tiles, int64_t grid, int64_t factor, int64_t hidden,
                  float* out, Stream& stream) {
  if (tiles == 0) return;
  const int64_t side = grid / factor;
  LaunchPlain(PixelShuffleKernel, dim3(Blocks(tiles * side * side)), dim3(kThreads), 0, stream, x,
              grid, factor, hidden, out);
}

}  // namespace skein::cuda
