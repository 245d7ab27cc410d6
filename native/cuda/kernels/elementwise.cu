// Embedding, norms fused with the residual, rotary + KV store, SwiGLU, and the reshuffles of the
// vision tower. All are bound by memory: eight bfloat16 values (16 bytes) a thread and access where
// the width allows it, single values otherwise.

#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;

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

// Sum over the block in a fixed order; every thread gets it.
__device__ __forceinline__ float BlockSum(float value) {
  __shared__ float parts[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  __syncthreads();
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kThreads / 32; ++i) sum += parts[i];
  return sum;
}

// One block a row.
__global__ void EmbedKernel(const __nv_bfloat16* table, int64_t vocab_start, int64_t vocab_rows,
                            int64_t hidden, const int32_t* token_ids, const int32_t* slots,
                            const int32_t* last_tokens, float* out) {
  const int64_t row = blockIdx.x;
  int32_t id = token_ids[row];
  if (id < 0) id = last_tokens[slots[row]];
  const int64_t local = id - vocab_start;
  const bool present = local >= 0 && local < vocab_rows;
  const __nv_bfloat16* source = table + (present ? local : 0) * hidden;
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    out[row * hidden + i] = present ? __bfloat162float(source[i]) : 0.0f;
  }
}

template <typename Chunk>
__global__ void CopyRowsKernel(const float* source, int64_t source_stride,
                               const int32_t* source_rows, const int32_t* out_rows, int64_t cols,
                               float* out, int64_t out_stride) {
  const int64_t from = source_rows == nullptr ? blockIdx.x : source_rows[blockIdx.x];
  const int64_t to = out_rows == nullptr ? blockIdx.x : out_rows[blockIdx.x];
  const int64_t chunks = cols * static_cast<int64_t>(sizeof(float)) / sizeof(Chunk);
  const auto* in = reinterpret_cast<const Chunk*>(source + from * source_stride);
  auto* destination = reinterpret_cast<Chunk*>(out + to * out_stride);
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) destination[i] = in[i];
}

__device__ __forceinline__ void LoadEightFloats(const float* from, float (&values)[8]) {
  const float4 low = reinterpret_cast<const float4*>(from)[0];
  const float4 high = reinterpret_cast<const float4*>(from)[1];
  values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
  values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
}

__device__ __forceinline__ void StoreEightFloats(float* to, const float (&values)[8]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(values[0], values[1], values[2], values[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(values[4], values[5], values[6], values[7]);
}

// One block a row. The row's float32 values stay in shared memory between the passes: [cols].
template <bool kResidual, bool kVector>
__global__ void __launch_bounds__(kThreads)
    NormKernel(const float* x, int64_t x_stride, const float* bias, const float* scale,
               float* residual, int64_t residual_stride, NormArguments norm, bool has_norm,
               int64_t cols, __nv_bfloat16* normed, int64_t normed_stride) {
  extern __shared__ float row_values[];
  const int64_t row = blockIdx.x;
  const float* in = x + row * x_stride;
  float sum = 0.0f;
  float squares = 0.0f;
  const auto take = [&](int64_t col, float value) {
    row_values[col] = value;
    sum += value;
    squares = fmaf(value, value, squares);
  };
  if constexpr (kVector) {
    for (int64_t col = threadIdx.x * 8; col < cols; col += kThreads * 8) {
      float values[8];
      LoadEightFloats(in + col, values);
      if constexpr (kResidual) {
        float* place = residual + row * residual_stride + col;
        float old[8];
        LoadEightFloats(place, old);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          if (bias != nullptr) values[i] += bias[col + i];
          if (scale != nullptr) values[i] *= scale[col + i];
          values[i] += old[i];
        }
        StoreEightFloats(place, values);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) take(col + i, values[i]);
    }
  } else {
    for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
      float value = in[col];
      if constexpr (kResidual) {
        float* place = residual + row * residual_stride + col;
        if (bias != nullptr) value += bias[col];
        if (scale != nullptr) value *= scale[col];
        value += *place;
        *place = value;
      }
      take(col, value);
    }
  }
  if (!has_norm) return;
  float mean = 0.0f;
  float inverse;
  if (norm.is_layer_norm) {
    mean = BlockSum(sum) / static_cast<float>(cols);
    // Second pass over the centred values: the one-pass form cancels badly where the mean is large.
    float centred = 0.0f;
    if constexpr (kVector) {
      for (int64_t col = threadIdx.x * 8; col < cols; col += kThreads * 8) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float d = row_values[col + i] - mean;
          centred = fmaf(d, d, centred);
        }
      }
    } else {
      for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
        const float d = row_values[col] - mean;
        centred = fmaf(d, d, centred);
      }
    }
    inverse = rsqrtf(BlockSum(centred) / static_cast<float>(cols) + norm.eps);
  } else {
    inverse = rsqrtf(BlockSum(squares) / static_cast<float>(cols) + norm.eps);
  }
  __nv_bfloat16* out = normed + row * normed_stride;
  // Each thread reads back only what it wrote itself.
  if constexpr (kVector) {
    for (int64_t col = threadIdx.x * 8; col < cols; col += kThreads * 8) {
      float values[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        values[i] = (row_values[col + i] - mean) * inverse * norm.weight[col + i];
        if (norm.bias != nullptr) values[i] += norm.bias[col + i];
      }
      *reinterpret_cast<Eight*>(out + col) = Pack(values);
    }
  } else {
    for (int64_t col = threadIdx.x; col < cols; col += kThreads) {
      float value = (row_values[col] - mean) * inverse * norm.weight[col];
      if (norm.bias != nullptr) value += norm.bias[col];
      out[col] = __float2bfloat16(value);
    }
  }
}

bool IsVector(int64_t cols, std::initializer_list<int64_t> strides) {
  if (cols % 8 != 0) return false;
  for (const int64_t stride : strides) {
    if (stride % 8 != 0) return false;
  }
  return true;
}

// Block (row, part), threads over pairs of all heads of q, then k, then elements of v.
__global__ void RotaryStoreKvKernel(RotaryArguments a) {
  const int64_t row = blockIdx.x;
  const int half = a.head_dim / 2;
  const int64_t slot = a.slot_mapping[row];
  const float position = static_cast<float>(a.positions[row]);
  __nv_bfloat16* base = a.qkv + row * a.stride;
  const int rotated = (a.num_heads + a.num_kv_heads) * half;
  const auto cache_offset = [&](int kv_head, int d) {
    return ((slot / a.block_size * a.num_kv_heads + kv_head) * a.block_size + slot % a.block_size) *
               a.head_dim +
           d;
  };
  const int first = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x);
  const int step = static_cast<int>(gridDim.y * blockDim.x);
  for (int i = first; i < rotated; i += step) {
    const int head = i / half;
    const int d = i % half;
    float sine, cosine;
    sincosf(position * a.inverse_frequencies[d], &sine, &cosine);
    __nv_bfloat16* place = base + static_cast<int64_t>(head) * a.head_dim + d;
    const float x = __bfloat162float(place[0]);
    const float y = __bfloat162float(place[half]);
    const __nv_bfloat16 low = __float2bfloat16(x * cosine - y * sine);
    const __nv_bfloat16 high = __float2bfloat16(y * cosine + x * sine);
    if (head < a.num_heads) {
      place[0] = low;
      place[half] = high;
    } else if (slot >= 0) {
      a.keys[cache_offset(head - a.num_heads, d)] = low;
      a.keys[cache_offset(head - a.num_heads, d + half)] = high;
    }
  }
  if (slot < 0) return;
  const __nv_bfloat16* v = base + static_cast<int64_t>(a.num_heads + a.num_kv_heads) * a.head_dim;
  for (int i = first; i < a.num_kv_heads * a.head_dim; i += step) {
    a.values[cache_offset(i / a.head_dim, i % a.head_dim)] = v[i];
  }
}

__device__ __forceinline__ float Silu(float x) { return x / (1.0f + __expf(-x)); }

template <bool kVector>
__global__ void SwiGluKernel(const float* gate_up, int64_t stride, int64_t width,
                             __nv_bfloat16* out, int64_t out_stride) {
  const int64_t row = blockIdx.y;
  const float* gate = gate_up + row * stride;
  if constexpr (kVector) {
    const int64_t col = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
    if (col >= width) return;
    float g[8], u[8];
    LoadEightFloats(gate + col, g);
    LoadEightFloats(gate + width + col, u);
#pragma unroll
    for (int i = 0; i < 8; ++i) g[i] = Silu(g[i]) * u[i];
    *reinterpret_cast<Eight*>(out + row * out_stride + col) = Pack(g);
  } else {
    const int64_t col = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (col >= width) return;
    out[row * out_stride + col] = __float2bfloat16(Silu(gate[col]) * gate[width + col]);
  }
}

__global__ void BiasGeluKernel(__nv_bfloat16* x, int64_t stride, const float* bias, int64_t cols,
                               bool gelu) {
  const int64_t col = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (col >= cols) return;
  __nv_bfloat16* place = x + blockIdx.y * stride + col;
  float value = __bfloat162float(*place);
  if (bias != nullptr) value += bias[col];
  if (gelu) value = 0.5f * value * (1.0f + erff(value * 0.70710678118654752f));
  *place = __float2bfloat16(value);
}

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

__global__ void __launch_bounds__(kThreads)
    QkSumSquaresKernel(const __nv_bfloat16* qkv, int64_t stride, int64_t width, float* sums) {
  const __nv_bfloat16* part = qkv + blockIdx.x * stride + blockIdx.y * width;
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) {
    const float value = __bfloat162float(part[i]);
    sum = fmaf(value, value, sum);
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x * 2 + blockIdx.y] = sum;
}

__global__ void ApplyQkNormKernel(__nv_bfloat16* qkv, int64_t stride, const float* sums,
                                  const float* q_weight, const float* k_weight, int64_t width,
                                  float full_width, float eps) {
  __nv_bfloat16* part = qkv + blockIdx.x * stride + blockIdx.y * width;
  const float* weight = blockIdx.y == 0 ? q_weight : k_weight;
  const float inverse = rsqrtf(sums[blockIdx.x * 2 + blockIdx.y] / full_width + eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    part[i] = __float2bfloat16(__bfloat162float(part[i]) * inverse * weight[i]);
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

unsigned Blocks(int64_t count) { return static_cast<unsigned>(count); }

}  // namespace

void EmbedTokens(const __nv_bfloat16* table, int64_t vocab_start, int64_t vocab_rows,
                 int64_t hidden, const int32_t* token_ids, const int32_t* slots,
                 const int32_t* last_tokens, int64_t rows, float* out, cudaStream_t stream) {
  if (rows == 0) return;
  EmbedKernel<<<Blocks(rows), kThreads, 0, stream>>>(table, vocab_start, vocab_rows, hidden,
                                                     token_ids, slots, last_tokens, out);
  SKEIN_CUDA_LAUNCHED("EmbedKernel");
}

void CopyRows(const float* source, int64_t source_stride, const int32_t* source_rows,
              const int32_t* out_rows, int64_t count, int64_t cols, float* out, int64_t out_stride,
              cudaStream_t stream) {
  if (count == 0) return;
  const auto kernel =
      IsVector(cols, {source_stride, out_stride}) ? CopyRowsKernel<float4> : CopyRowsKernel<float>;
  kernel<<<Blocks(count), 128, 0, stream>>>(source, source_stride, source_rows, out_rows, cols, out,
                                            out_stride);
  SKEIN_CUDA_LAUNCHED("CopyRowsKernel");
}

void Norm(const float* x, int64_t x_stride, const NormArguments& norm, int64_t rows, int64_t cols,
          __nv_bfloat16* normed, int64_t normed_stride, cudaStream_t stream) {
  if (rows == 0) return;
  const auto kernel = IsVector(cols, {x_stride, normed_stride}) ? NormKernel<false, true>
                                                                : NormKernel<false, false>;
  const size_t bytes = static_cast<size_t>(cols) * sizeof(float);
  if (bytes > 40 * 1024) {
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)));
  }
  kernel<<<Blocks(rows), kThreads, bytes, stream>>>(x, x_stride, nullptr, nullptr, nullptr, 0, norm,
                                                    true, cols, normed, normed_stride);
  SKEIN_CUDA_LAUNCHED("NormKernel");
}

void AddResidualNorm(const float* x, int64_t x_stride, const float* bias, const float* scale,
                     float* residual, int64_t residual_stride, const NormArguments* norm,
                     int64_t rows, int64_t cols, __nv_bfloat16* normed, int64_t normed_stride,
                     cudaStream_t stream) {
  if (rows == 0) return;
  const auto kernel = IsVector(cols, {x_stride, residual_stride, normed_stride})
                          ? NormKernel<true, true>
                          : NormKernel<true, false>;
  const size_t bytes = static_cast<size_t>(cols) * sizeof(float);
  if (bytes > 40 * 1024) {
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(bytes)));
  }
  kernel<<<Blocks(rows), kThreads, bytes, stream>>>(
      x, x_stride, bias, scale, residual, residual_stride,
      norm == nullptr ? NormArguments{} : *norm, norm != nullptr, cols, normed, normed_stride);
  SKEIN_CUDA_LAUNCHED("NormKernel");
}

void RotaryStoreKv(const RotaryArguments& arguments, int64_t rows, cudaStream_t stream) {
  if (rows == 0) return;
  // Few rows: more blocks a row, since one would take its pairs one after the other.
  const unsigned parts = rows <= 64 ? 8 : 1;
  RotaryStoreKvKernel<<<dim3(Blocks(rows), parts), kThreads, 0, stream>>>(arguments);
  SKEIN_CUDA_LAUNCHED("RotaryStoreKvKernel");
}

void SwiGlu(const float* gate_up, int64_t stride, int64_t rows, int64_t width, __nv_bfloat16* out,
            int64_t out_stride, cudaStream_t stream) {
  if (rows == 0) return;
  const bool vector = IsVector(width, {stride, out_stride});
  const int64_t per_block = vector ? kThreads * 8 : kThreads;
  const auto kernel = vector ? SwiGluKernel<true> : SwiGluKernel<false>;
  const dim3 blocks(Blocks((width + per_block - 1) / per_block), Blocks(rows));
  kernel<<<blocks, kThreads, 0, stream>>>(gate_up, stride, width, out, out_stride);
  SKEIN_CUDA_LAUNCHED("SwiGluKernel");
}

void BiasGelu(__nv_bfloat16* x, int64_t stride, const float* bias, int64_t rows, int64_t cols,
              bool gelu, cudaStream_t stream) {
  if (rows == 0) return;
  BiasGeluKernel<<<dim3(Blocks((cols + kThreads - 1) / kThreads), Blocks(rows)), kThreads, 0,
                   stream>>>(x, stride, bias, cols, gelu);
  SKEIN_CUDA_LAUNCHED("BiasGeluKernel");
}

void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                     const float mean[3], const float std[3], __nv_bfloat16* out,
                     int64_t out_stride, cudaStream_t stream) {
  if (tiles == 0) return;
  Channels channels;
  for (int c = 0; c < 3; ++c) {
    channels.mean[c] = mean[c];
    channels.inverse_std[c] = 1.0f / std[c];
  }
  const int64_t grid = side / patch;
  PatchesKernel<<<Blocks(tiles * grid * grid), 128, 0, stream>>>(pixels, side, patch, channels, out,
                                                                 out_stride);
  SKEIN_CUDA_LAUNCHED("PatchesKernel");
}

void AssembleVisionTokens(const float* patches, const float* class_embedding,
                          const float* position_embedding, int64_t tiles, int64_t num_patches,
                          int64_t hidden, float* out, cudaStream_t stream) {
  if (tiles == 0) return;
  AssembleKernel<<<Blocks(tiles * (num_patches + 1)), kThreads, 0, stream>>>(
      patches, class_embedding, position_embedding, num_patches, hidden, out);
  SKEIN_CUDA_LAUNCHED("AssembleKernel");
}

void QkSumSquares(const __nv_bfloat16* qkv, int64_t stride, int64_t rows, int64_t width,
                  float* sums, cudaStream_t stream) {
  if (rows == 0) return;
  QkSumSquaresKernel<<<dim3(Blocks(rows), 2), kThreads, 0, stream>>>(qkv, stride, width, sums);
  SKEIN_CUDA_LAUNCHED("QkSumSquaresKernel");
}

void ApplyQkNorm(__nv_bfloat16* qkv, int64_t stride, const float* sums, const float* q_weight,
                 const float* k_weight, int64_t rows, int64_t width, int64_t full_width, float eps,
                 cudaStream_t stream) {
  if (rows == 0) return;
  ApplyQkNormKernel<<<dim3(Blocks(rows), 2), kThreads, 0, stream>>>(
      qkv, stride, sums, q_weight, k_weight, width, static_cast<float>(full_width), eps);
  SKEIN_CUDA_LAUNCHED("ApplyQkNormKernel");
}

void PixelShuffle(const float* x, int64_t tiles, int64_t grid, int64_t factor, int64_t hidden,
                  float* out, cudaStream_t stream) {
  if (tiles == 0) return;
  const int64_t side = grid / factor;
  PixelShuffleKernel<<<Blocks(tiles * side * side), kThreads, 0, stream>>>(x, grid, factor, hidden,
                                                                           out);
  SKEIN_CUDA_LAUNCHED("PixelShuffleKernel");
}

}  // namespace skein::cuda
