// Pieces of the decode attention kernel: one warp's loads, scores and sums, and how warps and runs
// are put together.
#pragma once

#include "cuda/kernels/attention.h"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/rotary_parts.cuh"

namespace skein::cuda {
namespace decode {

inline constexpr unsigned kAllLanes = 0xffffffffu;
// Padding of a row in shared memory: shifts consecutive rows by 16 bytes, so that ldmatrix is free
// of bank conflicts.
inline constexpr int kPad = 8;

// Row `row` of the slice for every row but `skip`; lane i holds in `place` where row i's key lies
// in the cache, -1 for none: those rows become zero, since what lies in unused slots may be
// anything.
template <int kD, bool kAligned, int kSlice>
__device__ __forceinline__ void LoadRows(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                         int head_dim, int place, int skip) {
  const int lane = threadIdx.x % 32;
  if constexpr (kAligned) {
    constexpr int kPieces = kD / 8;
#pragma unroll
    for (int i = 0; i < kSlice * kPieces / 32; ++i) {
      const int row = (i * 32 + lane) / kPieces;
      const int col = (i * 32 + lane) % kPieces * 8;
      const int from = __shfl_sync(kAllLanes, place, row);
      const bool valid = from >= 0 && col < head_dim;
      if (row != skip) {
        CopyAsync16(shared + row * (kD + kPad) + col,
                    source + (valid ? static_cast<int64_t>(from) * head_dim + col : 0), valid);
      }
    }
  } else {
    for (int i = lane; i < kSlice * kD; i += 32) {
      const int row = i / kD;
      const int col = i % kD;
      const int from = __shfl_sync(kAllLanes, place, row);
      const bool valid = from >= 0 && col < head_dim;
      if (row != skip) {
        shared[row * (kD + kPad) + col] =
            valid ? source[static_cast<int64_t>(from) * head_dim + col] : __float2bfloat16(0.0f);
      }
    }
  }
}

// Only row `row`.
template <int kD, bool kAligned>
__device__ __forceinline__ void LoadRow(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                        int head_dim, int place, int row) {
  const int64_t from = static_cast<int64_t>(__shfl_sync(kAllLanes, place, row)) * head_dim;
  __nv_bfloat16* to = shared + row * (kD + kPad);
  const int lane = threadIdx.x % 32;
  if constexpr (kAligned) {
    const int col = lane * 8;
    const bool valid = col < head_dim;
    if (col < kD) CopyAsync16(to + col, source + (valid ? from + col : 0), valid);
  } else {
    for (int col = lane; col < kD; col += 32) {
      to[col] = col < head_dim ? source[from + col] : __float2bfloat16(0.0f);
    }
  }
}

// The group's queries, one head a row; zero rows after them.
template <int kD, bool kAligned, int kThreads>
__device__ __forceinline__ void LoadQueries(__nv_bfloat16* shared, const __nv_bfloat16* source,
                                            int head_dim, int group) {
  constexpr int kWidth = kAligned ? 8 : 1;
  for (int i = threadIdx.x; i < kDecodeHeads * kD / kWidth; i += kThreads) {
    const int row = i / (kD / kWidth);
    const int col = i % (kD / kWidth) * kWidth;
    const bool valid = row < group && col < head_dim;
    const __nv_bfloat16* from = source + (valid ? static_cast<int64_t>(row) * head_dim + col : 0);
    if constexpr (kAligned) {
      CopyAsync16(shared + row * (kD + kPad) + col, from, valid);
    } else {
      shared[row * (kD + kPad) + col] = valid ? *from : __float2bfloat16(0.0f);
    }
  }
}

// Where a row's own key and value go; null: nowhere, here.
struct OwnRow {
  __nv_bfloat16 *key_tile, *value_tile;
  __nv_bfloat16 *key_slot, *value_slot;
};

// The group's queries, rotated, one head a row; zero rows after them. And the row's own key,
// rotated, and value. `q`, `key` and `value` are one head's or the first one's; turns [kD / 2].
template <int kD, int kThreads>
__device__ __forceinline__ void LoadRotated(__nv_bfloat16* q_tile, const __nv_bfloat16* q,
                                            const __nv_bfloat16* key, const __nv_bfloat16* value,
                                            const OwnRow& own, const float2* turns, int head_dim,
                                            int group) {
  constexpr int kPairs = kD / 16, kPieces = kD / 8;
  constexpr int kRotated = (kDecodeHeads + 1) * kPairs;
  const bool has_own = own.key_tile != nullptr || own.key_slot != nullptr;
  const int half = head_dim / 2;
  const auto put = [](__nv_bfloat16* row, int col, const Eight& values) {
    if (row != nullptr) StoreEight(row + col, values);
  };
  for (int i = threadIdx.x; i < kRotated + kPieces; i += kThreads) {
    if (i >= kRotated) {
      if (!has_own) continue;
      const int col = (i - kRotated) * 8;
      const bool exists = col < head_dim;
      const Eight copied = exists ? LoadEight(value + col) : Eight{};
      put(own.value_tile, col, copied);
      if (exists) put(own.value_slot, col, copied);
      continue;
    }
    const int row = i / kPairs, first = i % kPairs * 8;
    const bool is_key = row == kDecodeHeads;
    if (is_key && !has_own) continue;
    __nv_bfloat16* tile = is_key ? own.key_tile : q_tile + row * (kD + kPad);
    if (first >= half) {
      // Columns that the head does not have.
      const int col = head_dim + (first - half) * 2;
      put(tile, col, Eight{});
      put(tile, col + 8, Eight{});
      continue;
    }
    float x[8] = {}, y[8] = {};
    if (is_key || row < group) {
      const __nv_bfloat16* from = is_key ? key : q + static_cast<int64_t>(row) * head_dim;
      const Eight low = LoadEight(from + first), high = LoadEight(from + half + first);
      Unpack(low, x);
      Unpack(high, y);
#pragma unroll
      for (int j = 0; j < 8; ++j) Turn(turns[first + j], x[j], y[j]);
    }
    const Eight low = Pack(x), high = Pack(y);
    put(tile, first, low);
    put(tile, half + first, high);
    if (is_key) {
      put(own.key_slot, first, low);
      put(own.key_slot, half + first, high);
    }
  }
}

template <bool kAligned>
__device__ __forceinline__ void StoreFour(__nv_bfloat16* out, int col, int head_dim, float4 v) {
  if constexpr (kAligned) {
    if (col < head_dim) {
      *reinterpret_cast<uint2*>(out + col) =
          make_uint2(PackBFloat16(v.x, v.y), PackBFloat16(v.z, v.w));
    }
  } else {
    const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (col + i < head_dim) out[col + i] = __float2bfloat16(values[i]);
    }
  }
}

// One warp's softmax over its keys of a run so far. Rows (query heads) lane / 4 and lane / 4 + 8 of
// the group; columns of `output` as of an m16n8k16 product.
template <int kD>
struct WarpSums {
  float row_max[2];
  float row_sum[2];
  float output[kD / 8][4];

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      row_max[r] = -INFINITY;
      row_sum[r] = 0.0f;
    }
#pragma unroll
    for (auto& fragment : output) {
#pragma unroll
      for (float& value : fragment) value = 0.0f;
    }
  }
};

// scores [16 heads, kSlice keys] = queries times keys.
template <int kD, int kSlice>
__device__ __forceinline__ void ScoreKeys(float (&scores)[kSlice / 8][4],
                                          const __nv_bfloat16* q_tile,
                                          const __nv_bfloat16* k_tile) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (auto& fragment : scores) {
#pragma unroll
    for (float& value : fragment) value = 0.0f;
  }
#pragma unroll
  for (int k = 0; k < kD / 16; ++k) {
    uint32_t q[4];
    LoadMatrix4(q, SharedAddress(q_tile + lane % 16 * (kD + kPad) + k * 16 + lane / 16 * 8));
#pragma unroll
    for (int n = 0; n < kSlice / 16; ++n) {
      uint32_t b[4];
      LoadMatrix4(b, SharedAddress(k_tile + (n * 16 + lane / 16 * 8 + lane % 8) * (kD + kPad) +
                                   k * 16 + lane / 8 % 2 * 8));
      MultiplyAccumulate(scores[2 * n], q, b[0], b[1]);
      MultiplyAccumulate(scores[2 * n + 1], q, b[2], b[3]);
    }
  }
}

// Turns the scores of `count` keys, at least one, into weights, and scales what came before.
template <int kD, int kSlice>
__device__ __forceinline__ void WeighKeys(WarpSums<kD>& sums, float (&scores)[kSlice / 8][4],
                                          int count, float scale_log2) {
  const int lane = threadIdx.x % 32;
  float new_max[2] = {sums.row_max[0], sums.row_max[1]};
#pragma unroll
  for (int n = 0; n < kSlice / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool exists = n * 8 + lane % 4 * 2 + (i & 1) < count;
      scores[n][i] = exists ? scores[n][i] * scale_log2 : -INFINITY;
      new_max[i / 2] = fmaxf(new_max[i / 2], scores[n][i]);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(kAllLanes, new_max[r], 1));
    new_max[r] = fmaxf(new_max[r], __shfl_xor_sync(kAllLanes, new_max[r], 2));
    const float correction = PowerOfTwo(sums.row_max[r] - new_max[r]);
    sums.row_max[r] = new_max[r];
    sums.row_sum[r] *= correction;
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      sums.output[d][2 * r] *= correction;
      sums.output[d][2 * r + 1] *= correction;
    }
  }
#pragma unroll
  for (int n = 0; n < kSlice / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[n][i] = PowerOfTwo(scores[n][i] - sums.row_max[i / 2]);
      sums.row_sum[i / 2] += scores[n][i];
    }
  }
}

template <int kD, int kSlice>
__device__ __forceinline__ void AddValues(WarpSums<kD>& sums, const float (&weights)[kSlice / 8][4],
                                          const __nv_bfloat16* v_tile) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < kSlice / 16; ++k) {
    const uint32_t p[4] = {PackBFloat16(weights[2 * k][0], weights[2 * k][1]),
                           PackBFloat16(weights[2 * k][2], weights[2 * k][3]),
                           PackBFloat16(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                           PackBFloat16(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
    for (int d = 0; d < kD / 16; ++d) {
      uint32_t b[4];
      LoadMatrix4Transposed(
          b, SharedAddress(v_tile + (k * 16 + lane % 16) * (kD + kPad) + d * 16 + lane / 16 * 8));
      MultiplyAccumulate(sums.output[2 * d], p, b[0], b[1]);
      MultiplyAccumulate(sums.output[2 * d + 1], p, b[2], b[3]);
    }
  }
}

// The end of a run: the warps' sums become one, added in the order of the warps. They meet eight
// rows at a time in `parts`, kPartStride floats a warp. store(row, column, maximum, sum, four
// values) gets the result. Every warp's part may be written again afterwards.
template <int kD, int kWarps, int kPartStride, typename Store>
__device__ __forceinline__ void MergeWarps(WarpSums<kD>& sums, float* parts,
                                           float2 (&stats)[kWarps][kDecodeHeads], int group,
                                           const Store& store) {
  constexpr int kRowStride = kD + 8;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sums.row_sum[r] += __shfl_xor_sync(kAllLanes, sums.row_sum[r], 1);
    sums.row_sum[r] += __shfl_xor_sync(kAllLanes, sums.row_sum[r], 2);
    if (lane % 4 == 0) {
      stats[warp][lane / 4 + 8 * r] = make_float2(sums.row_max[r], sums.row_sum[r]);
    }
  }
  __syncthreads();
  // Finite: the first warp has the run's first key.
  const auto max_of = [&](int row) {
    float maximum = stats[0][row].x;
#pragma unroll
    for (int w = 1; w < kWarps; ++w) maximum = fmaxf(maximum, stats[w][row].x);
    return maximum;
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (8 * half >= group) break;
    if (half == 1) __syncthreads();
    const float factor = PowerOfTwo(sums.row_max[half] - max_of(lane / 4 + 8 * half));
    if (lane / 4 + 8 * half < group) {
      float* part = parts + warp * kPartStride + lane / 4 * kRowStride + lane % 4 * 2;
#pragma unroll
      for (int d = 0; d < kD / 8; ++d) {
        *reinterpret_cast<float2*>(part + d * 8) =
            make_float2(sums.output[d][2 * half] * factor, sums.output[d][2 * half + 1] * factor);
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < min(8, group - 8 * half) * (kD / 4); i += kWarps * 32) {
      const int row = i / (kD / 4);
      const int col = i % (kD / 4) * 4;
      const float maximum = max_of(row + 8 * half);
      float sum = 0.0f;
      float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        const float2 of_warp = stats[w][row + 8 * half];
        sum = fmaf(of_warp.y, PowerOfTwo(of_warp.x - maximum), sum);
        const float4 part =
            *reinterpret_cast<const float4*>(parts + w * kPartStride + row * kRowStride + col);
        value.x += part.x, value.y += part.y, value.z += part.z, value.w += part.w;
      }
      store(row + 8 * half, col, maximum, sum, value);
    }
  }
  __syncthreads();
}

// Combines the partial results of all runs of one sequence and head in order; four columns.
template <int kD>
__device__ __forceinline__ float4 CombineRuns(const DecodeWorkspace& workspace, int64_t first_part,
                                              int num_heads, int runs, int col) {
  float maximum = -INFINITY;
  float sum = 0.0f;
  float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  // Eight at a time, so that their loads are under way together; added one after the other.
  constexpr int kBatch = 8;
  for (int base = 0; base < runs; base += kBatch) {
    float2 stats[kBatch];
    float4 parts[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const bool exists = base + j < runs;
      const int64_t at = first_part + static_cast<int64_t>(exists ? base + j : 0) * num_heads;
      stats[j] = __ldcg(workspace.stats + at);
      parts[j] = __ldcg(reinterpret_cast<const float4*>(workspace.values + at * kD + col));
      if (!exists) stats[j].x = -INFINITY;
    }
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      const float new_max = fmaxf(maximum, stats[j].x);
      const float old_factor = PowerOfTwo(maximum - new_max);
      const float factor = PowerOfTwo(stats[j].x - new_max);
      sum = sum * old_factor + stats[j].y * factor;
      value.x = value.x * old_factor + parts[j].x * factor;
      value.y = value.y * old_factor + parts[j].y * factor;
      value.z = value.z * old_factor + parts[j].z * factor;
      value.w = value.w * old_factor + parts[j].w * factor;
      maximum = new_max;
    }
  }
  const float inverse = 1.0f / sum;
  return make_float4(value.x * inverse, value.y * inverse, value.z * inverse, value.w * inverse);
}

}  // namespace decode
}  // namespace skein::cuda
