// Pieces of the decode attention kernels: how a block walks over its keys, one warp's loads, scores
// and sums. attention_runs.cuh puts warps and runs together.
#pragma once

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/rotary_parts.cuh"

namespace skein::cuda {
namespace decode {

inline constexpr unsigned kAllLanes = 0xffffffffu;
// Padding of a row in shared memory: shifts consecutive rows by 16 bytes, so that ldmatrix is free
// of bank conflicts.
inline constexpr int kPad = 8;

// The query heads of a KV head that a block serves.
struct BlockHeads {
  int kv_head, first, count;
};
__device__ __forceinline__ BlockHeads HeadsOfBlock(int num_kv_heads, const int32_t* kv_q_start) {
  const int passes = gridDim.x / num_kv_heads;
  const int kv_head = blockIdx.x / passes;
  const int first = kv_q_start[kv_head] + blockIdx.x % passes * kDecodeHeads;
  return {kv_head, first, min(kDecodeHeads, kv_q_start[kv_head + 1] - first)};
}

// The output of a padded row.
template <int kThreads>
__device__ __forceinline__ void StoreZeros(__nv_bfloat16* out, int count) {
  for (int i = threadIdx.x; i < count; i += kThreads) out[i] = __float2bfloat16(0.0f);
}

// What a block has to do: a share of one sequence's runs, for some of its heads.
struct BlockWork {
  DecodeShare share;
  BlockHeads heads;
  int runs;  // of the sequence
  __nv_bfloat16* out;
};

// A block's start. False: it has nothing to do, or has done it, and ends.
template <int kRunKeys, int kThreads>
__device__ __forceinline__ bool StartBlock(BlockWork& work, const AttentionArguments& a,
                                           int num_kv_heads, const int32_t* kv_q_start,
                                           const DecodeShare* shares) {
  LetNextStart();
  work.share = shares[blockIdx.y];
  // Leaves its place at once; a kernel has blocks with a sequence, which wait.
  if (work.share.tile < 0) return false;
  work.heads = HeadsOfBlock(num_kv_heads, kv_q_start);
  work.runs = RunsOf(work.share.context_length, kRunKeys);
  work.out = a.out + static_cast<int64_t>(work.share.query_row) * a.out_stride +
             static_cast<int64_t>(work.heads.first) * a.head_dim;
  if (work.heads.count > 0 && work.share.index < work.runs) return true;
  WaitForPrevious();
  if (work.runs == 0) StoreZeros<kThreads>(work.out, work.heads.count * a.head_dim);
  return false;
}

// In rows of the cache, where key `position` of a KV head lies; `table` is the sequence's.
template <typename Keys>
__device__ __forceinline__ int PlaceOf(const Keys& keys, const int32_t* table, int kv_head,
                                       int position) {
  return (table[position / keys.block_size] * keys.num_kv_heads + kv_head) * keys.block_size +
         position % keys.block_size;
}

// Where a block stands in its list of keys: the chunk at `begin` of run `run`.
struct Cursor {
  int run;
  int begin;
  int end;  // of the run's keys that exist
};

// A block's runs: of `shares` shares, every shares-th.
template <int kRunKeys, int kChunk>
struct Walk {
  int context_length, runs, shares;
  __device__ __forceinline__ Cursor AtRun(int run) const {
    const KeyRun keys = RunAt(run, kRunKeys);
    return {run, keys.begin, min(keys.begin + keys.length, context_length)};
  }
  // Of a run beyond the last where there is nothing more.
  __device__ __forceinline__ Cursor After(const Cursor& cursor) const {
    if (cursor.begin + kChunk < cursor.end) {
      return {cursor.run, cursor.begin + kChunk, cursor.end};
    }
    return cursor.run + shares < runs ? AtRun(cursor.run + shares)
                                      : Cursor{cursor.run + shares, 0, 0};
  }
};

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

// One warp's softmax over its keys of a run so far. Rows (query heads) lane / 4 and lane / 4 + 8 of
// the group; columns of `output` as of an m16n8k16 product.
template <int kD>
struct WarpSums {
  static constexpr int kEights = 2;
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

  // Each row's maximum and sum, of all lanes.
  __device__ __forceinline__ void StoreStats(float2* stats) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      row_sum[r] += __shfl_xor_sync(kAllLanes, row_sum[r], 1);
      row_sum[r] += __shfl_xor_sync(kAllLanes, row_sum[r], 2);
      if (lane % 4 == 0) stats[lane / 4 + 8 * r] = make_float2(row_max[r], row_sum[r]);
    }
  }
  // The sums of eight rows that exist, relative to max_of(row), to rows of `part`.
  template <typename MaxOf>
  __device__ __forceinline__ void StoreEightRows(int eight, float* part, int stride, int group,
                                                 const MaxOf& max_of) const {
    const int lane = threadIdx.x % 32;
    const float factor = PowerOfTwo(row_max[eight] - max_of(lane / 4 + 8 * eight));
    if (lane / 4 + 8 * eight >= group) return;
    part += lane / 4 * stride + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < kD / 8; ++d) {
      *reinterpret_cast<float2*>(part + d * 8) =
          make_float2(output[d][2 * eight] * factor, output[d][2 * eight + 1] * factor);
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

// Calls launch.operator()<columns, variant>() with what a head is rounded up to and the variant,
// which only heads of 128 columns with aligned rows have. Throws for one that there is not.
template <typename Launch>
void CallDecodeInstance(int head_dim, bool is_aligned, int variant, const Launch& launch) {
  const int columns = DecodeColumns(head_dim);
  SKEIN_CHECK(variant == 0 || (columns == 128 && is_aligned && variant < kNumDecodeVariants),
              "no variant %d for head_dim %d", variant, head_dim);
  if (columns == 16) {
    launch.template operator()<16, 0>();
  } else if (columns == 32) {
    launch.template operator()<32, 0>();
  } else if (columns == 64) {
    launch.template operator()<64, 0>();
  } else if (variant == 0) {
    launch.template operator()<128, 0>();
  } else if (variant == 1) {
    launch.template operator()<128, 1>();
  } else if (variant == 2) {
    launch.template operator()<128, 2>();
  } else {
    launch.template operator()<128, 3>();
  }
}

}  // namespace decode
}  // namespace skein::cuda
