// What becomes of the sums that a warp of the AWQ kernel for few rows has made: delivered where
// they are a group's, kept for a chunk's end, or added to other warps' where several have a group.
#pragma once

#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_multiply.cuh"
#include "cuda/kernels/awq_parts.cuh"

namespace skein::cuda::awq {

// From one row of a tile's partial sums to the next: no bank conflicts where fragments are stored.
inline constexpr int kSumStride = 20;

// Of kTiles * 8 rows; kMembers tiles a group, kWarps a block.
template <int kTiles, int kMembers, int kWarps>
struct ProductSums {
  static constexpr int kThreads = kWarps * 32;
  // Of a warp's share of a group, in shared memory.
  static constexpr int kShareFloats = kMembers * kTiles * 8 * kSumStride;

  using Sums = UnitSums<kMembers, kTiles>;

  // Complete sums of this block's slice of the inputs.
  __device__ static __forceinline__ void Deliver(const AwqWeights& w, const ProductOperands& p,
                                                 const AwqPlan& s, int row, int group, int column,
                                                 const float (&values)[kMembers]) {
    if (s.slices == 1) {
      Finish<kMembers>(w, p, s, row, group, column, values);
      return;
    }
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      *Partial(w, p, s, blockIdx.y, row, group, m, column) = values[m];
    }
  }

  // The same for all sums of a warp.
  __device__ static __forceinline__ void DeliverAll(const AwqWeights& w, const ProductOperands& p,
                                                    const AwqPlan& s, int group, const Sums& sums) {
    const int lane = threadIdx.x % 32;
    const int rows = static_cast<int>(p.rows);
    float* const partial = Partial(w, p, s, blockIdx.y, lane % 4 * 2, group, 0, lane / 4);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int row = t * 8 + lane % 4 * 2 + odd;
        if (row >= rows) continue;
        float* const place = partial + (t * 8 + odd) * w.padded_out;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float values[kMembers];
#pragma unroll
          for (int m = 0; m < kMembers; ++m) {
            values[m] = sums[m][t][2 * half + odd];
            if (s.slices > 1) place[m * s.member_tiles * kAwqTileColumns + 8 * half] = values[m];
          }
          if (s.slices == 1) {
            Finish<kMembers>(w, p, s, row, group, lane / 4 + 8 * half, values);
          }
        }
      }
    }
  }

  __device__ static __forceinline__ void StoreShare(const Sums& sums, float* share) {
    const int lane = threadIdx.x % 32;
    ForEachSum<kMembers, kTiles>([&](int m, int t, int i) {
      const int row = t * 8 + lane % 4 * 2 + i % 2;
      share[(m * kTiles * 8 + row) * kSumStride + lane / 4 + 8 * (i / 2)] = sums[m][t][i];
    });
  }

  // Groups of which several warps have shares, in the order of the warps. All threads take part:
  // one group after another, by a few of them each, gate and up took 6 us here.
  __device__ static __forceinline__ void AddShares(const AwqWeights& w, const ProductOperands& p,
                                                   const AwqPlan& s, int first_group,
                                                   int num_groups, int num_units,
                                                   const float* shares) {
    const int count = num_groups * num_units;
    const float inverse = 1.0f / static_cast<float>(count);
    const auto begin = [&](int warp) { return count * warp / kWarps; };
    // The warp of a unit; the half keeps quotients away from whole numbers.
    const auto owner = [&](int unit) {
      return static_cast<int>((static_cast<float>((unit + 1) * kWarps) - 0.5f) * inverse);
    };
    const int rows = static_cast<int>(p.rows);
    const int column = threadIdx.x % 16;
    constexpr int kTeams = kThreads / 16;  // each adds a row of a group at a time
    const int step_groups = kTeams / rows, step_rows = kTeams % rows;
    int g = static_cast<int>(threadIdx.x) / 16 / rows;
    int row = static_cast<int>(threadIdx.x) / 16 % rows;
    while (g < num_groups) {
      const int first = owner(g * num_units);
      const int last = owner((g + 1) * num_units - 1);
      if (first != last) {
        float values[kMembers];
#pragma unroll
        for (float& value : values) value = 0.0f;
        for (int warp = first; warp <= last; ++warp) {
          if (begin(warp) == begin(warp + 1)) continue;
          // The first warp may have come from the group before: then this is its last share.
          const int which = begin(warp) < g * num_units ? 1 : 0;
          const float* share = shares + (warp * 2 + which) * kShareFloats;
#pragma unroll
          for (int m = 0; m < kMembers; ++m) {
            values[m] += share[(m * kTiles * 8 + row) * kSumStride + column];
          }
        }
        Deliver(w, p, s, row, first_group + g, column, values);
      }
      g += step_groups;
      row += step_rows;
      if (row >= rows) {
        row -= rows;
        ++g;
      }
    }
  }

  // `sums`, of a chunk, behind those before it: in `before`, or, of the last, in `sums`.
  __device__ static __forceinline__ void AddChunk(Sums& sums, Sums& before, bool is_first,
                                                  bool is_last) {
    ForEachSum<kMembers, kTiles>([&](int m, int t, int i) {
      float& value = sums[m][t][i];
      if (!is_first) value = __fadd_rn(before[m][t][i], value);
      if (is_last) return;
      before[m][t][i] = value;
      value = 0.0f;
    });
  }

  // Groups whose chunks several warps have, chunk after chunk.
  __device__ static __forceinline__ void AddParts(const AwqWeights& w, const ProductOperands& p,
                                                  const AwqPlan& s, int first_group, int num_groups,
                                                  const float* shares) {
    const int rows = static_cast<int>(p.rows);
    const int column = threadIdx.x % 16;
    for (int item = threadIdx.x / 16; item < num_groups * rows; item += kThreads / 16) {
      const int group = item / rows, row = item - group * rows;
      const float* share = shares + group * s.parts * kShareFloats + row * kSumStride + column;
      float values[kMembers];
#pragma unroll
      for (int m = 0; m < kMembers; ++m) values[m] = share[m * kTiles * 8 * kSumStride];
      for (int part = 1; part < s.parts; ++part) {
        share += kShareFloats;
#pragma unroll
        for (int m = 0; m < kMembers; ++m) {
          values[m] = __fadd_rn(values[m], share[m * kTiles * 8 * kSumStride]);
        }
      }
      Deliver(w, p, s, row, first_group + group, column, values);
    }
  }
};

}  // namespace skein::cuda::awq
