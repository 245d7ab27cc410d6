// Products with AWQ int4 weights on bf16 tensor cores. A nibble q becomes the bfloat16 number 128 +
// q by setting bits; 128 + z is taken off in bfloat16, which is exact for such small integers. Each
// group's sums are scaled in float32. The weight tile is the A operand (16 outputs x 16 inputs), so
// one pass serves up to 8 rows of x for the price of one.

#include "cuda/cuda_check.h"
#include "cuda/kernels/awq.h"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

constexpr int kWarps = 8;
// Tiles of 64 inputs whose loads are under way together.
constexpr int kAhead = 4;

// Bit offset of column j of eight in a word: the order that AutoAWQ's gemm packing uses.
__device__ __forceinline__ int NibbleShift(int column) {
  return ((column & 1) << 4) | ((column >> 1) << 2);
}

// Block (tile of 64 inputs, tile of 16 outputs), one warp: each lane gathers its four words.
__global__ void PackWordsKernel(AwqWeights w, const int32_t* qweight, int64_t valid_out) {
  const int lane = threadIdx.x;
  const int64_t words_per_row = valid_out / 8;
  uint32_t packed[4];
  for (int j = 0; j < 4; ++j) {
    uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {  // output rows l / 4, l / 4 + 8
      for (int i = 0; i < 4; ++i) {  // inputs 4 j + i; i / 2 picks the k half of the fragment
        const int64_t out = static_cast<int64_t>(blockIdx.y) * 16 + lane / 4 + 8 * half;
        const int64_t in =
            static_cast<int64_t>(blockIdx.x) * 64 + (lane % 4) * 16 + 4 * j + i - w.group_offset;
        uint32_t nibble = 0;
        if (out < valid_out && in >= 0 && in < w.in_features) {
          const auto raw = static_cast<uint32_t>(qweight[in * words_per_row + out / 8]);
          nibble = (raw >> NibbleShift(static_cast<int>(out % 8))) & 15u;
        }
        // Register p of the fragment: 0 (row, k 0-1), 1 (row + 8, k 0-1), 2 (row, k 8-9), 3 (row +
        // 8, k 8-9).
        const int p = half + 2 * (i / 2);
        word |= nibble << (4 * p + 16 * (i % 2));
      }
    }
    packed[j] = word;
  }
  const int64_t tiles_in = w.padded_in / 64;
  auto* place = reinterpret_cast<uint4*>(w.words) +
                (static_cast<int64_t>(blockIdx.y) * tiles_in + blockIdx.x) * 32 + lane;
  *place = make_uint4(packed[0], packed[1], packed[2], packed[3]);
}

__global__ void PackScalesKernel(AwqWeights w, const int32_t* qzeros, const void* scales,
                                 bool scales_are_half, int64_t valid_out) {
  const int64_t out = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (out >= w.out_features) return;
  const int64_t group = blockIdx.y;
  __half2 value = __floats2half2_rn(0.0f, 128.0f);
  if (out < valid_out) {
    const auto raw = static_cast<uint32_t>(qzeros[group * (valid_out / 8) + out / 8]);
    const uint32_t zero = (raw >> NibbleShift(static_cast<int>(out % 8))) & 15u;
    const float scale =
        scales_are_half ? __half2float(static_cast<const __half*>(scales)[group * valid_out + out])
                        : static_cast<const float*>(scales)[group * valid_out + out];
    value = __floats2half2_rn(scale, 128.0f + static_cast<float>(zero));
  }
  w.scale_zero[group * w.out_features + out] = value;
}

// Fragment register p of a word: nibbles p and p + 4 as bfloat16 q - z; `zero` is 128 + z, twice.
__device__ __forceinline__ uint32_t FragmentRegister(uint32_t word, int p, __nv_bfloat162 zero) {
  const uint32_t bits = ((word >> (4 * p)) & 0x000f000fu) | 0x43004300u;
  const __nv_bfloat162 value = __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&bits), zero);
  return *reinterpret_cast<const uint32_t*>(&value);
}

// Sixteen values of row `row` of x from input k0 of the padded range on; zeros outside the slice
// and beyond `rows`.
__device__ __forceinline__ void LoadSixteen(const __nv_bfloat16* x, int64_t stride, int64_t row,
                                            int64_t rows, int64_t k0, int64_t in_features,
                                            bool aligned, uint32_t (&b)[8]) {
#pragma unroll
  for (uint32_t& value : b) value = 0;
  if (row >= rows) return;
  const __nv_bfloat16* source = x + row * stride + k0;
  if (aligned && k0 >= 0 && k0 + 16 <= in_features) {
    const auto* wide = reinterpret_cast<const uint4*>(source);
    const uint4 low = wide[0];
    const uint4 high = wide[1];
    b[0] = low.x, b[1] = low.y, b[2] = low.z, b[3] = low.w;
    b[4] = high.x, b[5] = high.y, b[6] = high.z, b[7] = high.w;
    return;
  }
  auto* values = reinterpret_cast<__nv_bfloat16*>(b);
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    if (k0 + i >= 0 && k0 + i < in_features) values[i] = source[i];
  }
}

// Block: 16 outputs, all rows; the warps share the tiles out and add up in warp order.
template <int kTiles>
__global__ void __launch_bounds__(kWarps * 32)
    ProductKernel(AwqWeights w, const __nv_bfloat16* x, int64_t x_stride, int64_t rows,
                  const float* bias, int64_t valid_out, void* out, bool out_is_float,
                  int64_t out_stride) {
  __shared__ float partial[kWarps][kTiles * 8][16];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int64_t tiles_in = w.padded_in / 64;
  const int64_t tiles_per_group = w.group_size / 64;
  const auto* words = reinterpret_cast<const uint4*>(w.words) +
                      static_cast<int64_t>(blockIdx.x) * tiles_in * 32 + lane;
  const bool aligned =
      x_stride % 8 == 0 && w.group_offset % 8 == 0 && (reinterpret_cast<uint64_t>(x) & 15u) == 0;

  float total[kTiles][4];
#pragma unroll
  for (auto& fragment : total) {
#pragma unroll
    for (float& value : fragment) value = 0.0f;
  }
  const __half2* tables = w.scale_zero + static_cast<int64_t>(blockIdx.x) * 16 + lane / 4;
  // A warp takes runs of kAhead tiles, whatever groups they are of.
  for (int64_t run = warp * kAhead; run < tiles_in; run += kWarps * kAhead) {
    uint4 raw[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      raw[i] = run + i < tiles_in ? __ldcs(words + (run + i) * 32) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t tile = run + i;
      if (tile >= tiles_in) break;
      const __half2* table = tables + tile / tiles_per_group * w.out_features;
      const float2 first = __half22float2(table[0]);
      const float2 second = __half22float2(table[8]);
      const __nv_bfloat162 zero[2] = {__float2bfloat162_rn(first.y),
                                      __float2bfloat162_rn(second.y)};
      const uint32_t word[4] = {raw[i].x, raw[i].y, raw[i].z, raw[i].w};
      float sums[kTiles][4];
      uint32_t b[kTiles][8];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
#pragma unroll
        for (float& value : sums[t]) value = 0.0f;
        LoadSixteen(x, x_stride, t * 8 + lane / 4, rows,
                    tile * 64 + (lane % 4) * 16 - w.group_offset, w.in_features, aligned, b[t]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t a[4] = {
            FragmentRegister(word[j], 0, zero[0]), FragmentRegister(word[j], 1, zero[1]),
            FragmentRegister(word[j], 2, zero[0]), FragmentRegister(word[j], 3, zero[1])};
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          MultiplyAccumulate(sums[t], a, b[t][2 * j], b[t][2 * j + 1]);
        }
      }
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        total[t][0] = fmaf(first.x, sums[t][0], total[t][0]);
        total[t][1] = fmaf(first.x, sums[t][1], total[t][1]);
        total[t][2] = fmaf(second.x, sums[t][2], total[t][2]);
        total[t][3] = fmaf(second.x, sums[t][3], total[t][3]);
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      partial[warp][t * 8 + (lane % 4) * 2 + i % 2][lane / 4 + 8 * (i / 2)] = total[t][i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kTiles * 8 * 16; i += kWarps * 32) {
    const int row = i / 16;
    const int64_t column = static_cast<int64_t>(blockIdx.x) * 16 + i % 16;
    if (row >= rows || column >= valid_out) continue;
    float value = bias == nullptr ? 0.0f : bias[column];
#pragma unroll
    for (int p = 0; p < kWarps; ++p) value += partial[p][row][i % 16];
    if (out_is_float) {
      static_cast<float*>(out)[row * out_stride + column] = value;
    } else {
      static_cast<__nv_bfloat16*>(out)[row * out_stride + column] = __float2bfloat16(value);
    }
  }
}

// Block (tile of 64 inputs, tile of 16 outputs), one warp.
__global__ void DequantizeKernel(AwqWeights w, int64_t first, int64_t columns,
                                 __nv_bfloat16* dense) {
  const int lane = threadIdx.x;
  const int64_t tile_out = first / 16 + blockIdx.y;
  const int64_t tiles_in = w.padded_in / 64;
  const uint4 raw =
      reinterpret_cast<const uint4*>(w.words)[(tile_out * tiles_in + blockIdx.x) * 32 + lane];
  const uint32_t word[4] = {raw.x, raw.y, raw.z, raw.w};
  const int64_t group = static_cast<int64_t>(blockIdx.x) * 64 / w.group_size;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t column = static_cast<int64_t>(blockIdx.y) * 16 + lane / 4 + 8 * half;
    if (column >= columns) continue;
    const float2 table = __half22float2(w.scale_zero[group * w.out_features + first + column]);
    // The lane's sixteen inputs lie side by side.
    alignas(16) __nv_bfloat16 values[16];
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const int p = half + 2 * (k % 4 / 2);
      const float q = static_cast<float>((word[k / 4] >> (4 * p + 16 * (k % 2))) & 15u);
      values[k] = __float2bfloat16((q + 128.0f - table.y) * table.x);
    }
    const int64_t in = static_cast<int64_t>(blockIdx.x) * 64 + (lane % 4) * 16 - w.group_offset;
    __nv_bfloat16* place = dense + column * w.in_features + in;
    if (in >= 0 && in + 16 <= w.in_features && w.in_features % 8 == 0 && w.group_offset % 8 == 0) {
      reinterpret_cast<uint4*>(place)[0] = reinterpret_cast<const uint4*>(values)[0];
      reinterpret_cast<uint4*>(place)[1] = reinterpret_cast<const uint4*>(values)[1];
      continue;
    }
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      if (in + k >= 0 && in + k < w.in_features) place[k] = values[k];
    }
  }
}

}  // namespace

void PackAwq(const AwqWeights& weights, const int32_t* qweight, const int32_t* qzeros,
             const void* scales, bool scales_are_half, int64_t valid_out, cudaStream_t stream) {
  const dim3 tiles(static_cast<unsigned>(weights.padded_in / 64),
                   static_cast<unsigned>(weights.out_features / 16));
  PackWordsKernel<<<tiles, 32, 0, stream>>>(weights, qweight, valid_out);
  SKEIN_CUDA_LAUNCHED("PackWordsKernel");
  const int64_t groups =
      (weights.in_features + weights.group_offset + weights.group_size - 1) / weights.group_size;
  PackScalesKernel<<<dim3(static_cast<unsigned>((weights.out_features + 127) / 128),
                          static_cast<unsigned>(groups)),
                     128, 0, stream>>>(weights, qzeros, scales, scales_are_half, valid_out);
  SKEIN_CUDA_LAUNCHED("PackScalesKernel");
}

void AwqProduct(const AwqWeights& weights, const __nv_bfloat16* x, int64_t x_stride, int64_t rows,
                const float* bias, int64_t valid_out, void* out, bool out_is_float,
                int64_t out_stride, cudaStream_t stream) {
  if (rows == 0) return;
  SKEIN_CHECK(rows <= kAwqMaxRows, "rows %lld", static_cast<long long>(rows));
  const auto kernel = rows <= 8    ? ProductKernel<1>
                      : rows <= 16 ? ProductKernel<2>
                                   : ProductKernel<4>;
  kernel<<<static_cast<unsigned>(weights.out_features / 16), kWarps * 32, 0, stream>>>(
      weights, x, x_stride, rows, bias, valid_out, out, out_is_float, out_stride);
  SKEIN_CUDA_LAUNCHED("ProductKernel");
}

void AwqDequantize(const AwqWeights& weights, int64_t first, int64_t columns, __nv_bfloat16* dense,
                   cudaStream_t stream) {
  if (columns == 0) return;
  const dim3 tiles(static_cast<unsigned>(weights.padded_in / 64),
                   static_cast<unsigned>((columns + 15) / 16));
  DequantizeKernel<<<tiles, 32, 0, stream>>>(weights, first, columns, dense);
  SKEIN_CUDA_LAUNCHED("DequantizeKernel");
}

}  // namespace skein::cuda
