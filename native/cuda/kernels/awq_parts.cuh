// What surrounds the loop of an AWQ product: x on its way into shared memory, sums on their way
// out.
#pragma once

#include "cuda/kernels/awq.h"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/vectors.cuh"

namespace skein::cuda {

__device__ __forceinline__ void PrefetchToL2([[maybe_unused]] const void* address) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

// Where a row's piece of 8 inputs lies in its line: what a warp reads at a time (ldmatrix), a piece
// of each of eight rows, lies in different banks. The copy engine's maps place pieces so, too.
__device__ __forceinline__ int PlaceOfPiece(int row, int piece) { return piece ^ (row & 7); }

// Inputs in .. in + 7 of a row of x; zeros outside.
__device__ __forceinline__ uint4 LoadPiece(const AwqWeights& w, const __nv_bfloat16* source,
                                           int64_t in) {
  uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (in + i < 0 || in + i >= w.in_features) continue;
    const uint32_t bits = __bfloat16_as_ushort(source[in + i]);
    words[i / 2] |= bits << (16 * (i % 2));
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// Units c0 .. c0 + num_units - 1 of x to shared memory: [halves of units, rows, 8 pieces]. The
// copies may still be under way.
template <int kWarps>
__device__ __forceinline__ void StageX(const AwqWeights& w, const ProductOperands& p, int c0,
                                       int num_units, uint4* staged) {
  const int rows = static_cast<int>(p.rows);
  const int lane = threadIdx.x % 32;
  // Warps that share a row.
  int sharing = kWarps;
  while (sharing > 1 && kWarps / sharing < rows) sharing /= 2;
  const int warp = threadIdx.x / 32;
  const bool aligned = p.x_stride % 8 == 0 && w.group_offset % 8 == 0 &&
                       (reinterpret_cast<uint64_t>(p.x) & 15u) == 0;
  const int pieces = num_units * 16, step = sharing * 32;
  const int64_t first = static_cast<int64_t>(c0) * kAwqUnitInputs - w.group_offset;
  for (int row = warp / sharing; row < rows; row += kWarps / sharing) {
    const __nv_bfloat16* source = p.x + row * p.x_stride;
    for (int piece = warp % sharing * 32 + lane; piece < pieces; piece += step) {
      uint4* place = staged + (piece / 8 * rows + row) * 8 + PlaceOfPiece(row, piece % 8);
      const int64_t in = first + int64_t{piece} * 8;
      if (aligned && in >= 0 && in + 8 <= w.in_features) {
        CopyAsync16(place, source + in, true);
      } else {
        *place = LoadPiece(w, source, in);
      }
    }
  }
}

__device__ __forceinline__ void Store(const ProductOperands& p, int64_t row, int64_t column,
                                      float value) {
  if (p.out_is_float) {
    static_cast<float*>(p.out)[row * p.out_stride + column] = value;
  } else {
    static_cast<__nv_bfloat16*>(p.out)[row * p.out_stride + column] = __float2bfloat16(value);
  }
}

// Complete sums of a row at column `column` of each member of a group become outputs.
template <int kMembers>
__device__ __forceinline__ void Finish(const AwqWeights& w, const ProductOperands& p,
                                       const AwqPlan& s, int64_t row, int64_t group, int column,
                                       const float (&values)[kMembers]) {
  const int64_t first = group * s.group_tiles * kAwqTileColumns + column;
  const int64_t step = static_cast<int64_t>(s.member_tiles) * kAwqTileColumns;
  if constexpr (kMembers == 2) {
    if (p.swiglu) {
      float gate = values[0], up = values[1];
      if (p.bias != nullptr) {
        gate += p.bias[first];
        up += p.bias[first + step];
      }
      Store(p, row, first, Silu(gate) * up);
      return;
    }
  }
#pragma unroll
  for (int m = 0; m < kMembers; ++m) {
    const int64_t place = first + m * step;
    if (place >= w.out_features) continue;
    Store(p, row, place, p.bias == nullptr ? values[m] : values[m] + p.bias[place]);
  }
}

// Sums of one slice: [slices, rows, padded_out].
__device__ __forceinline__ float* Partial(const AwqWeights& w, const ProductOperands& p,
                                          const AwqPlan& s, int64_t slice, int64_t row,
                                          int64_t group, int member, int column) {
  const int64_t tile = group * s.group_tiles + static_cast<int64_t>(member) * s.member_tiles;
  return p.partial + (slice * p.rows + row) * w.padded_out + tile * kAwqTileColumns + column;
}

// Four columns of a row of a group, slice after slice. item: (group, row, quarter of a tile).
template <int kMembers>
__device__ __forceinline__ void SumSlices(const AwqWeights& w, const ProductOperands& p,
                                          const AwqPlan& s, int64_t first_group, int item) {
  const int rows = static_cast<int>(p.rows);
  const int column = item % 4 * 4;
  const int row = item / 4 % rows;
  const int64_t group = first_group + item / 4 / rows;
  float sums[kMembers][4];
#pragma unroll
  for (auto& quad : sums) {
#pragma unroll
    for (float& value : quad) value = 0.0f;
  }
  const int64_t slice_step = p.rows * w.padded_out;
  const float* from[kMembers];
#pragma unroll
  for (int m = 0; m < kMembers; ++m) from[m] = Partial(w, p, s, 0, row, group, m, column);
#pragma unroll 4
  for (int slice = 0; slice < s.slices; ++slice) {
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      // Past the first-level cache: other blocks wrote it.
      const float4 quad = __ldcg(
          reinterpret_cast<const float4*>(from[m] + static_cast<int64_t>(slice) * slice_step));
      sums[m][0] += quad.x;
      sums[m][1] += quad.y;
      sums[m][2] += quad.z;
      sums[m][3] += quad.w;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float values[kMembers];
#pragma unroll
    for (int m = 0; m < kMembers; ++m) values[m] = sums[m][i];
    Finish<kMembers>(w, p, s, row, group, column + i, values);
  }
}

}  // namespace skein::cuda
