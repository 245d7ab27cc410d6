// Pieces of decode attention over a cache in float8: one warp's products of keys and values, which
// are codes in shared memory until they are a product's first operand. In registers two of them
// become two of float16, which has every value of theirs.
//
// Keys are the rows of scores [keys, heads] = K Q^T, and dimensions those of O^T = V^T P^T, so that
// eight heads, not sixteen, are what a product takes at least.
#pragma once

#include <cuda_fp16.h>

#include "cuda/kernels/attention_decode.cuh"
#include "cuda/kernels/kv_float8.cuh"

namespace skein::cuda {
namespace decode {

// Padding of a row of codes: see kPad.
inline constexpr int kCodePad = 16;

// Lane i has what belongs to key i of the slice.
struct KeyFactors {
  float key, log_value, inverse_value;

  // Keys from `count` on do not exist: they have no weight.
  __device__ __forceinline__ KeyFactors(float key_scale, float value_scale, int count) {
    const bool exists = static_cast<int>(threadIdx.x % 32) < count;
    const ValueFactors of_value(value_scale);
    key = key_scale;
    log_value = exists ? of_value.log : -INFINITY;
    inverse_value = exists ? of_value.inverse : 0.0f;
  }
};

// One warp's softmax over its keys of a run so far, of kTiles times eight heads: a lane has heads
// lane % 4 * 2 and the next one of each eight; of each 16 columns it has lane / 4 * 2 and the next.
template <int kD, int kTiles>
struct CodeSums {
  static constexpr int kEights = kTiles;
  float row_max[kTiles][2];
  float row_sum[kTiles][2];
  float output[kD / 16][kTiles][4];  // by column, then by head

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        row_max[n][i] = -INFINITY;
        row_sum[n][i] = 0.0f;
      }
#pragma unroll
      for (auto& fragments : output) {
#pragma unroll
        for (float& value : fragments[n]) value = 0.0f;
      }
    }
  }

  // As WarpSums.
  __device__ __forceinline__ void StoreStats(float2* stats) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int offset = 4; offset < 32; offset *= 2) {
          row_sum[n][i] += __shfl_xor_sync(kAllLanes, row_sum[n][i], offset);
        }
        if (lane < 4) {
          stats[n * 8 + lane * 2 + i] = make_float2(row_max[n][i], row_sum[n][i]);
        }
      }
    }
  }
  template <typename MaxOf>
  __device__ __forceinline__ void StoreEightRows(int eight, float* part, int stride, int group,
                                                 const MaxOf& max_of) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = lane % 4 * 2 + i;
      if (eight * 8 + row >= group) continue;
      const float factor = PowerOfTwo(row_max[eight][i] - max_of(eight * 8 + row));
#pragma unroll
      for (int d = 0; d < kD / 16; ++d) {
        const float(&fragment)[4] = output[d][eight];
        *reinterpret_cast<float2*>(part + row * stride + d * 16 + lane / 4 * 2) =
            make_float2(fragment[i] * factor, fragment[i + 2] * factor);
      }
    }
  }
};

// The group's queries, scaled; zero rows after them. `undo` [kRows] gets the rows' factors. Of each
// 16 columns the first and second, the fifth and sixth and so on come first, then the others: a
// register with four neighbouring codes is two registers of a product, for columns that are eight
// apart there.
template <int kD, bool kAligned, int kWarps, int kRows>
__device__ __forceinline__ void LoadScaledQueries(__half* shared, float* undo,
                                                  const __nv_bfloat16* source, int head_dim,
                                                  int group) {
  const int lane = threadIdx.x % 32;
  const int col = lane * 4;
#pragma unroll
  for (int i = 0; i < kRows / kWarps; ++i) {
    const int row = static_cast<int>(threadIdx.x / 32) + i * kWarps;
    float x[4] = {};
    if (row < group && col < head_dim) {
      LoadFour<kAligned>(x, source + static_cast<int64_t>(row) * head_dim + col);
    }
    const ScaledQuery query(x);
    if (lane == 0) undo[row] = query.undo;
    if (col < kD) {
      __half* to = shared + row * (kD + kPad) + col / 16 * 16 + col % 16 / 2;
      *reinterpret_cast<uint32_t*>(to) = query.low;
      *reinterpret_cast<uint32_t*>(to + 8) = query.high;
    }
  }
}

// Of codes, four 8x8 matrices are loaded together: those of the slice's keys, eight by eight, then
// those of the next 16 columns. Where a lane's row of the first four is, and how far away the
// `load`-th four are.
template <int kD, int kSlice>
__device__ __forceinline__ uint32_t CodeMatrices(const uint8_t* codes) {
  const int lane = threadIdx.x % 32;
  return SharedAddress(codes + lane % kSlice * (kD + kCodePad) + lane / kSlice * 16);
}
template <int kSlice>
__device__ __forceinline__ constexpr uint32_t MatricesAway(int load) {
  return static_cast<uint32_t>(load * (32 / kSlice) * 16);
}

// scores [kSlice keys, kTiles * 8 heads] = keys times queries.
template <int kD, int kSlice, int kTiles>
__device__ __forceinline__ void ScoreCodes(float (&scores)[kSlice / 16][kTiles][4],
                                           const __half* q_tile, const uint8_t* codes) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (auto& tiles : scores) {
#pragma unroll
    for (auto& fragment : tiles) {
#pragma unroll
      for (float& value : fragment) value = 0.0f;
    }
  }
  constexpr int kKeyTiles = kSlice / 16;
  // So many times 16 columns are loaded together, of queries and of codes.
  constexpr int kSteps = kD >= 32 ? 2 : 1;
  // Two registers for each step and eight heads. One load has both steps of eight heads, or one of
  // sixteen.
  constexpr int kQueryLoads = kSteps * kTiles > 2 ? 2 : 1;
  const int row = kTiles == 1 ? lane % 8 : lane / 16 * 8 + lane % 8;
  const int eight = kTiles == 1 && kSteps == 2 ? lane / 8 : lane / 8 % 2;
  const uint32_t keys = CodeMatrices<kD, kSlice>(codes);
  const uint32_t queries = SharedAddress(q_tile + row * (kD + kPad) + eight * 8);
#pragma unroll
  for (int first = 0; first < kD / 16; first += kSteps) {
    uint32_t q[kQueryLoads][4];
#pragma unroll
    for (int load = 0; load < kQueryLoads; ++load) {
      LoadMatrix4(q[load], queries + (first + load) * 16 * static_cast<int>(sizeof(__half)));
    }
#pragma unroll
    for (int load = 0; load < kSteps * kKeyTiles / 2; ++load) {
      uint32_t four[4];
      LoadMatrix4(four, keys + MatricesAway<kSlice>(first * kKeyTiles / 2 + load));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int step = (load * 2 + i) / kKeyTiles, tile = (load * 2 + i) % kKeyTiles;
        const uint32_t a[4] = {WidenPair<0>(four[2 * i]), WidenPair<0>(four[2 * i + 1]),
                               WidenPair<1>(four[2 * i]), WidenPair<1>(four[2 * i + 1])};
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
          const int at = (step * kTiles + n) * 2;
          MultiplyFloat16(scores[tile][n], a, q[at / 4][at % 4], q[at / 4][at % 4 + 1]);
        }
      }
    }
  }
}

// Turns the scores of a slice that has a key into weights times values' scales, and scales what
// came before. undo: of the lane's heads, with the scale of scores in powers of two.
template <int kD, int kSlice, int kTiles>
__device__ __forceinline__ void WeighCodes(CodeSums<kD, kTiles>& sums,
                                           float (&scores)[kSlice / 16][kTiles][4],
                                           const KeyFactors& factors,
                                           const float (&undo)[kTiles][2]) {
  const int lane = threadIdx.x % 32;
  float new_max[kTiles][2];
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) new_max[n][i] = sums.row_max[n][i];
  }
#pragma unroll
  for (int eight = 0; eight < kSlice / 8; ++eight) {
    const float scale = __shfl_sync(kAllLanes, factors.key, eight * 8 + lane / 4);
    const float log_value = __shfl_sync(kAllLanes, factors.log_value, eight * 8 + lane / 4);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[eight / 2][n][eight % 2 * 2 + i];
        score = fmaf(score, scale * undo[n][i], log_value);
        new_max[n][i] = fmaxf(new_max[n][i], score);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2) {
        new_max[n][i] = fmaxf(new_max[n][i], __shfl_xor_sync(kAllLanes, new_max[n][i], offset));
      }
      const float correction = PowerOfTwo(sums.row_max[n][i] - new_max[n][i]);
      sums.row_max[n][i] = new_max[n][i];
      sums.row_sum[n][i] *= correction;
#pragma unroll
      for (int d = 0; d < kD / 16; ++d) {
        sums.output[d][n][i] *= correction;
        sums.output[d][n][i + 2] *= correction;
      }
    }
  }
#pragma unroll
  for (int eight = 0; eight < kSlice / 8; ++eight) {
    const float inverse = __shfl_sync(kAllLanes, factors.inverse_value, eight * 8 + lane / 4);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[eight / 2][n][eight % 2 * 2 + i];
        score = PowerOfTwo(score - sums.row_max[n][i]);
        sums.row_sum[n][i] = fmaf(score, inverse, sums.row_sum[n][i]);
      }
    }
  }
}

template <int kD, int kSlice, int kTiles>
__device__ __forceinline__ void AddCodes(CodeSums<kD, kTiles>& sums,
                                         const float (&weights)[kSlice / 16][kTiles][4],
                                         const uint8_t* codes) {
  constexpr int kKeyTiles = kSlice / 16;
  const uint32_t values = CodeMatrices<kD, kSlice>(codes);
  uint32_t p[kKeyTiles][kTiles][2];
#pragma unroll
  for (int k = 0; k < kKeyTiles; ++k) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        p[k][n][i] = TransposeMatrix(PackFloat16(weights[k][n][2 * i], weights[k][n][2 * i + 1]));
      }
    }
  }
#pragma unroll
  for (int load = 0; load < kD / 16 * kKeyTiles / 2; ++load) {
    uint32_t four[4];
    LoadMatrix4Transposed(four, values + MatricesAway<kSlice>(load));
    // Two keys' neighbouring columns become two columns' keys: the even one and the odd one are
    // eight rows apart in the product.
#pragma unroll
    for (uint32_t& codes_of_two : four) codes_of_two = __byte_perm(codes_of_two, 0, 0x3120);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int d = (load * 2 + i) / kKeyTiles, tile = (load * 2 + i) % kKeyTiles;
      const uint32_t a[4] = {WidenPair<0>(four[2 * i]), WidenPair<1>(four[2 * i]),
                             WidenPair<0>(four[2 * i + 1]), WidenPair<1>(four[2 * i + 1])};
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        MultiplyFloat16(sums.output[d][n], a, p[tile][n][0], p[tile][n][1]);
      }
    }
  }
}

}  // namespace decode
}  // namespace skein::cuda
