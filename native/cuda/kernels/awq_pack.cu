// AWQ weights from the checkpoint's layout to that of the product, and from there to bfloat16.

#include "cuda/cuda_check.h"
#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/launch.cuh"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;

// Bit offset of column j of eight in a word: the order that AutoAWQ's gemm packing uses.
__device__ __forceinline__ int NibbleShift(int column) {
  return ((column & 1) << 4) | ((column >> 1) << 2);
}

// Block (chunk of 64 inputs, tile of 16 columns), one warp: each lane gathers its four words.
__global__ void PackWordsKernel(AwqWeights w, const int32_t* qweight) {
  const int lane = threadIdx.x;
  const int64_t words_per_row = w.out_features / 8;
  uint32_t packed[4];
  for (int j = 0; j < 4; ++j) {
    uint32_t word = 0;
    for (int half = 0; half < 2; ++half) {  // columns l / 4, l / 4 + 8
      for (int i = 0; i < 4; ++i) {         // inputs; i / 2 picks the k half of the fragment
        const int64_t out = static_cast<int64_t>(blockIdx.y) * 16 + lane / 4 + 8 * half;
        const int64_t in = static_cast<int64_t>(blockIdx.x) * 64 + 16 * j + 2 * (lane % 4) +
                           i / 2 * 8 + i % 2 - w.group_offset;
        uint32_t nibble = 0;
        if (out < w.out_features && in >= 0 && in < w.in_features) {
          const auto raw = static_cast<uint32_t>(qweight[in * words_per_row + out / 8]);
          nibble = (raw >> NibbleShift(static_cast<int>(out % 8))) & 15u;
        }
        // Register p of the fragment: 0 (column, k 0-1), 1 (column + 8, k 0-1), 2 (column, k 8-9),
        // 3 (column + 8, k 8-9).
        const int p = half + 2 * (i / 2);
        word |= nibble << (4 * p + 16 * (i % 2));
      }
    }
    packed[j] = word;
  }
  auto* place = reinterpret_cast<uint4*>(w.words) +
                (static_cast<int64_t>(blockIdx.y) * w.units * 2 + blockIdx.x) * 32 + lane;
  *place = make_uint4(packed[0], packed[1], packed[2], packed[3]);
}

// A thread a table entry.
__global__ void PackTablesKernel(AwqWeights w, const int32_t* qzeros, const void* scales,
                                 bool scales_are_half, int64_t groups) {
  const int64_t entry = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t per_tile = w.units * w.tables_per_unit * 16;
  if (entry >= w.padded_out / 16 * per_tile) return;
  const int64_t out = entry / per_tile * 16 + entry % 16;
  const int64_t in = entry % per_tile / 16 * (kAwqUnitInputs / w.tables_per_unit);
  const int64_t group = in / w.group_size;
  float scale = 0.0f, zero = 0.0f;
  if (out < w.out_features && group < groups) {
    const auto raw = static_cast<uint32_t>(qzeros[group * (w.out_features / 8) + out / 8]);
    zero = static_cast<float>((raw >> NibbleShift(static_cast<int>(out % 8))) & 15u);
    const int64_t place = group * w.out_features + out;
    scale = scales_are_half ? __half2float(static_cast<const __half*>(scales)[place])
                            : static_cast<const float*>(scales)[place];
  }
  const uint32_t low = __half_as_ushort(__float2half(scale));
  const uint32_t high = __bfloat16_as_ushort(__float2bfloat16(128.0f + zero));
  w.tables[entry] = low | high << 16;
}

// (q - z) * s, rounded once: s is cut into two bfloat16 numbers, exactly (11 bits are 8 and 3), and
// the product with the lesser one is exact, too.
__device__ __forceinline__ uint32_t Scaled(uint32_t fragment, __nv_bfloat162 high,
                                           __nv_bfloat162 low) {
  const auto value = *reinterpret_cast<const __nv_bfloat162*>(&fragment);
  const __nv_bfloat162 scaled = __hfma2(value, high, __hmul2(value, low));
  return *reinterpret_cast<const uint32_t*>(&scaled);
}

// Value i of lane l and value l of lane i of four lanes change places.
__device__ __forceinline__ void TransposeQuads(uint32_t (&values)[4]) {
#pragma unroll
  for (int step = 1; step < 4; step *= 2) {
    const bool upper = (threadIdx.x & step) != 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if ((i & step) != 0) continue;
      const uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? values[i] : values[i | step], step);
      if (upper) {
        values[i] = got;
      } else {
        values[i | step] = got;
      }
    }
  }
}

// A warp takes a unit of a tile. Grid (units / warps, tiles).
__global__ void __launch_bounds__(kThreads)
    DequantizeKernel(AwqWeights w, int64_t first, int64_t columns, __nv_bfloat16* dense) {
  const int lane = threadIdx.x % 32;
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (unit >= w.units) return;
  const int64_t place = (first / 16 + blockIdx.y) * w.units + unit;
  const uint4* words = reinterpret_cast<const uint4*>(w.words) + place * 64 + lane;
  const uint32_t* tables = w.tables + place * w.tables_per_unit * 16 + lane / 4;
  const uint4 raw[2] = {__ldcs(words), __ldcs(words + 32)};
  const bool aligned = w.in_features % 8 == 0 && w.group_offset % 8 == 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t column = static_cast<int64_t>(blockIdx.y) * 16 + lane / 4 + 8 * half;
    __nv_bfloat16* row = dense + column * w.in_features - w.group_offset;
#pragma unroll
    for (int quarter = 0; quarter < 4; ++quarter) {
      const uint32_t entry = tables[quarter * w.tables_per_unit / 4 * 16 + 8 * half];
      const __nv_bfloat162 zero = TableZero(entry);
      const float scale = TableScale(entry);
      const __nv_bfloat16 rounded = __float2bfloat16(scale);
      const __nv_bfloat162 high = __bfloat162bfloat162(rounded);
      const __nv_bfloat162 low = __float2bfloat162_rn(scale - __bfloat162float(rounded));
      const uint4 four = raw[quarter / 2];
      const uint32_t word[2] = {quarter % 2 == 0 ? four.x : four.z,
                                quarter % 2 == 0 ? four.y : four.w};
      alignas(16) uint32_t values[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        values[i] = Scaled(FragmentRegister(word[i / 2], half + 2 * (i % 2), zero), high, low);
      }
      // This lane has inputs 2 (lane % 4) + {0, 1} of each eight; now all of the lane's eight.
      TransposeQuads(values);
      if (column >= columns) continue;
      const int64_t in = unit * kAwqUnitInputs + quarter * 32 + lane % 4 * 8;
      const int64_t from = in - w.group_offset;
      if (aligned && from >= 0 && from + 8 <= w.in_features) {
        *reinterpret_cast<uint4*>(row + in) = *reinterpret_cast<const uint4*>(values);
        continue;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (from + i < 0 || from + i >= w.in_features) continue;
        row[in + i] = __ushort_as_bfloat16(static_cast<uint16_t>(values[i / 2] >> (16 * (i % 2))));
      }
    }
  }
}

__global__ void ReferenceKernel(AwqWeights w, const __nv_bfloat16* x, int64_t x_stride,
                                float* out) {
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  const int64_t row = blockIdx.x;
  if (column >= w.out_features) return;
  float sum = 0.0f;
  for (int64_t in = 0; in < w.in_features; ++in) {
    const int64_t padded = in + w.group_offset;
    const int64_t place = column / 16 * w.units + padded / kAwqUnitInputs;
    const int within = static_cast<int>(padded % kAwqUnitInputs);
    const int lane = static_cast<int>(column % 8) * 4 + within % 8 / 2;
    const int j = within % 64 / 16;
    const int half = static_cast<int>(column % 16 / 8);
    const uint32_t word = w.words[((place * 2 + within / 64) * 32 + lane) * 4 + j];
    const uint32_t q = word >> (4 * (half + within % 16 / 8 * 2) + within % 2 * 16) & 15u;
    const uint32_t entry =
        w.tables[(place * w.tables_per_unit + within * w.tables_per_unit / kAwqUnitInputs) * 16 +
                 column % 16];
    const float zero = __bfloat162float(__ushort_as_bfloat16(static_cast<uint16_t>(entry >> 16)));
    sum = fmaf(__bfloat162float(x[row * x_stride + in]),
               (128.0f + static_cast<float>(q) - zero) * TableScale(entry), sum);
  }
  out[row * w.out_features + column] = sum;
}

unsigned Blocks(int64_t count, int64_t each) {
  return static_cast<unsigned>((count + each - 1) / each);
}

}  // namespace

void PackAwq(const AwqWeights& weights, const int32_t* qweight, const int32_t* qzeros,
             const void* scales, bool scales_are_half, Stream& stream) {
  const dim3 chunks(static_cast<unsigned>(weights.units * 2),
                    static_cast<unsigned>(weights.padded_out / 16));
  LaunchPlain(PackWordsKernel, chunks, dim3(32), 0, stream, weights, qweight);
  const int64_t groups =
      (weights.in_features + weights.group_offset + weights.group_size - 1) / weights.group_size;
  const int64_t entries = weights.padded_out * weights.units * weights.tables_per_unit;
  LaunchPlain(PackTablesKernel, dim3(Blocks(entries, kThreads)), dim3(kThreads), 0, stream, weights,
              qzeros, scales, scales_are_half, groups);
  SKEIN_CUDA(
      cudaMemsetAsync(weights.tickets, 0, kAwqMaxTickets * sizeof(uint32_t), stream.ForDriver()));
}

void AwqDequantize(const AwqWeights& weights, int64_t first, int64_t columns, __nv_bfloat16* dense,
                   Stream& stream) {
  if (columns == 0) return;
  const dim3 grid(Blocks(weights.units, kThreads / 32), Blocks(columns, 16));
  LaunchPlain(DequantizeKernel, grid, dim3(kThreads), 0, stream, weights, first, columns, dense);
}

void AwqReference(const AwqWeights& weights, const __nv_bfloat16* x, int64_t x_stride, int64_t rows,
                  float* out, Stream& stream) {
  if (rows == 0) return;
  const dim3 grid(static_cast<unsigned>(rows), Blocks(weights.out_features, kThreads));
  LaunchPlain(ReferenceKernel, grid, dim3(kThreads), 0, stream, weights, x, x_stride, out);
}

}  // namespace skein::cuda
