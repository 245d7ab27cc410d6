// What a warp does with a unit of packed AWQ weights: fragments of the words, products with x, and
// the group's scale. awq_exact_wide_kernel.cuh leaves the same bits: the order of products and sums
// is that of both.
#pragma once

#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda::awq {

// A lane's fragments of the members of a group times tiles of eight rows.
template <int kMembers, int kTiles>
using UnitSums = float[kMembers][kTiles][4];

template <int kMembers, int kTiles, typename Each>
__device__ __forceinline__ void ForEachSum(const Each& each) {
#pragma unroll
  for (int m = 0; m < kMembers; ++m) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) each(m, t, i);
    }
  }
}

template <int kMembers, int kTiles>
__device__ __forceinline__ void ClearSums(float (&sums)[kMembers][kTiles][4]) {
  ForEachSum<kMembers, kTiles>([&](int m, int t, int i) { sums[m][t][i] = 0.0f; });
}

// total += the product of the stage's unit and its part of x. `words` and `tables` are where
// this lane's begin; x[t] is the piece of quarter 0 that this lane names of tile t, in bytes from
// `staged`, and the other half of its unit half_bytes later.
template <int kMembers, int kTiles, int kSubs>
__device__ __forceinline__ void MultiplyUnit(const char* words, const char* tables, uint32_t staged,
                                             int half_bytes, const int (&x)[kTiles],
                                             UnitSums<kMembers, kTiles>& total) {
  constexpr int kUnitBytes = AwqRingUnitBytes(kSubs);
  UnitSums<kMembers, kTiles> sums;
  ClearSums(sums);
  float scale[kMembers][2];
  __nv_bfloat162 zero[kMembers][2];
  uint4 raw[kMembers];
#pragma unroll
  for (int quarter = 0; quarter < 4; ++quarter) {
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      if (quarter % 2 == 0) {
        raw[m] = *reinterpret_cast<const uint4*>(words + m * kUnitBytes + quarter / 2 * 512);
      }
      if (quarter % (4 / kSubs) == 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint32_t entry = *reinterpret_cast<const uint32_t*>(
              tables + m * kUnitBytes + quarter * kSubs / 4 * kAwqTableBytes + 32 * half);
          scale[m][half] = TableScale(entry);
          zero[m][half] = TableZero(entry);
        }
      }
    }
    uint32_t b[kTiles][4];
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      // PlaceOfPiece: an odd quarter is the other half of the same line.
      LoadMatrix4(b[t], staged + (x[t] ^ quarter % 2 * 64) + quarter / 2 * half_bytes);
    }
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const uint32_t word =
            quarter % 2 == 0 ? (j == 0 ? raw[m].x : raw[m].y) : (j == 0 ? raw[m].z : raw[m].w);
        const uint32_t a[4] = {
            FragmentRegister(word, 0, zero[m][0]), FragmentRegister(word, 1, zero[m][1]),
            FragmentRegister(word, 2, zero[m][0]), FragmentRegister(word, 3, zero[m][1])};
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
          MultiplyAccumulate(sums[m][t], a, b[t][2 * j], b[t][2 * j + 1]);
        }
      }
    }
    if ((quarter + 1) % (4 / kSubs) != 0) continue;
    ForEachSum<kMembers, kTiles>([&](int m, int t, int i) {
      total[m][t][i] = __fmaf_rn(scale[m][i / 2], sums[m][t][i], total[m][t][i]);
      sums[m][t][i] = 0.0f;
    });
  }
}

}  // namespace skein::cuda::awq
