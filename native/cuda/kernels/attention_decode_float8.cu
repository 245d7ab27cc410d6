// Decode attention over a cache in float8: as attention_decode.cu, in runs, warps and blocks. A
// warp copies its keys' and values' codes by cp.async and multiplies them from shared memory
// (attention_decode_codes.cuh). What is read is little more than half as much.

#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/attention_decode_codes.cuh"
#include "cuda/kernels/attention_runs.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

using namespace decode;

// As LoadRows, of codes, `count` rows and zeros after them: 16 at a time, or four where rows are
// not whole sixteens.
template <int kD, bool kAligned, int kSlice>
__device__ __forceinline__ void LoadCodes(uint8_t* shared, const uint8_t* source, int head_dim,
                                          int place, int count, int skip) {
  constexpr int kWidth = kAligned ? 16 : 4;
  constexpr int kPieces = kD / kWidth, kRows = 32 / kPieces;
  static_assert(kPieces <= 32 && kSlice % kRows == 0);
  const int lane = threadIdx.x % 32;
  const int first = lane / kPieces, col = lane % kPieces * kWidth;
  const bool has_col = col < head_dim;
  source += has_col ? col : 0;
  uint8_t* const to = shared + first * (kD + kCodePad) + col;
#pragma unroll
  for (int i = 0; i < kSlice; i += kRows) {
    const uint8_t* at =
        source + static_cast<int64_t>(__shfl_sync(kAllLanes, place, i + first)) * head_dim;
    const bool valid = has_col && i + first < count;
    if (i + first == skip) continue;
    if constexpr (kAligned) {
      CopyAsync16(to + i * (kD + kCodePad), at, valid);
    } else {
      // Not through the L1 cache, which would keep the neighbours of what is read too early.
      *reinterpret_cast<uint32_t*>(to + i * (kD + kCodePad)) =
          valid ? __ldcg(reinterpret_cast<const uint32_t*>(at)) : 0;
    }
  }
}

// Only row `row`.
template <int kD, bool kAligned>
__device__ __forceinline__ void LoadCodeRow(uint8_t* shared, const uint8_t* source, int head_dim,
                                            int place, int row) {
  constexpr int kWidth = kAligned ? 16 : 4;
  const uint8_t* from =
      source + static_cast<int64_t>(__shfl_sync(kAllLanes, place, row)) * head_dim;
  const int col = static_cast<int>(threadIdx.x % 32) * kWidth;
  if (col >= kD) return;
  const bool valid = col < head_dim;
  uint8_t* to = shared + row * (kD + kCodePad) + col;
  if constexpr (kAligned) {
    CopyAsync16(to, from + (valid ? col : 0), valid);
  } else {
    *reinterpret_cast<uint32_t*>(to) =
        valid ? __ldcg(reinterpret_cast<const uint32_t*>(from + col)) : 0;
  }
}

// Of key lane's row; zero if it does not exist.
struct Scales {
  float key = 0.0f, value = 0.0f;
  __device__ __forceinline__ void Load(const Float8Kv& kv, int place, bool exists) {
    if (!exists) return;
    // Not through the L1 cache, which would keep the neighbours of what is read too early.
    key = __ldcg(kv.key_scales + place);
    value = __ldcg(kv.value_scales + place);
  }
};

// A warp's memory: its keys' codes, then its values', and, when a run ends, eight rows of its sums
// where those were.
template <int kD, int kSlice>
struct WarpMemory {
  static constexpr int kCodeBytes = kSlice * (kD + kCodePad);
  static constexpr int kPartBytes = 8 * (kD + 8) * static_cast<int>(sizeof(float));
  static constexpr int kBytes = kCodeBytes + std::max(kCodeBytes, kPartBytes);
  static_assert(kCodeBytes % 16 == 0 && kBytes % 16 == 0);
};

// kTiles: how many times eight heads a block serves at most.
template <int kD, bool kAligned, int kTiles, int kWarps, int kSlice, int kRunKeys>
__global__ void __launch_bounds__(kWarps * 32, Float8DecodeBlocksAtOnce(kWarps, kTiles * 8))
    DecodeFloat8Kernel(AttentionArguments a, PagedFloat8Keys keys, const int32_t* kv_q_start,
                       const DecodeShare* shares, DecodeWorkspace workspace) {
  using Memory = WarpMemory<kD, kSlice>;
  constexpr int kThreads = kWarps * 32;
  constexpr int kChunk = kWarps * kSlice;
  constexpr int kPartStride = Memory::kBytes / static_cast<int>(sizeof(float));
  static_assert(kRunKeys % kChunk == 0, "a run is whole chunks");
  static_assert(kSlice == 16 || kSlice == 32, "one lane holds one key's place and scales");
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  __shared__ float2 warp_stats[kWarps][kDecodeHeads];
  __shared__ float query_factors[kTiles * 8];
  __shared__ bool is_last;

  BlockWork work;
  if (!StartBlock<kRunKeys, kThreads>(work, a, keys.num_kv_heads, kv_q_start, shares)) return;
  const DecodeShare& share = work.share;
  const auto [kv_head, first_head, group] = work.heads;
  const int runs = work.runs;
  __nv_bfloat16* const out = work.out;
  // Where the row's own key lies, the last one.
  const int own_position = share.context_length - 1;

  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  uint8_t* const k_codes = shared_bytes + warp * Memory::kBytes;
  uint8_t* const v_codes = k_codes + Memory::kCodeBytes;
  auto* const parts = reinterpret_cast<float*>(shared_bytes + Memory::kCodeBytes);
  auto* const q_tile = reinterpret_cast<__half*>(shared_bytes + kWarps * Memory::kBytes);

  const Walk<kRunKeys, kChunk> walk{share.context_length, runs, share.count};
  const int32_t* table =
      keys.block_tables + static_cast<int64_t>(share.table_row) * keys.max_blocks;
  // Of a warp's keys of a chunk, how many there are, and where lane's key lies: 0 if it does not
  // exist, which is never read.
  const auto count_of = [&](const Cursor& cursor) {
    return min(cursor.end - (cursor.begin + warp * kSlice), kSlice);
  };
  const auto place_of = [&](const Cursor& cursor) {
    if (lane >= count_of(cursor)) return 0;
    return PlaceOf(keys, table, kv_head, cursor.begin + warp * kSlice + lane);
  };

  // All keys but the step's own are of earlier steps: they come while the kernels in front finish.
  Cursor cursor = walk.AtRun(share.index);
  Scales scales;
  {
    const int place = place_of(cursor), count = count_of(cursor);
    const int own_row = own_position - (cursor.begin + warp * kSlice);
    const bool has_own_row = own_row >= 0 && own_row < kSlice && own_position < cursor.end;
    const int skip = has_own_row ? own_row : -1;
    LoadCodes<kD, kAligned, kSlice>(k_codes, keys.kv.keys, a.head_dim, place, count, skip);
    LoadCodes<kD, kAligned, kSlice>(v_codes, keys.kv.values, a.head_dim, place, count, skip);
    scales.Load(keys.kv, place, lane < count && lane != skip);
    WaitForPrevious();
    if (has_own_row) {
      LoadCodeRow<kD, kAligned>(k_codes, keys.kv.keys, a.head_dim, place, own_row);
      LoadCodeRow<kD, kAligned>(v_codes, keys.kv.values, a.head_dim, place, own_row);
      scales.Load(keys.kv, place, lane == own_row);
    }
    LoadScaledQueries<kD, kAligned, kWarps, kTiles * 8>(
        q_tile, query_factors,
        a.q + static_cast<int64_t>(share.query_row) * a.q_stride +
            static_cast<int64_t>(first_head) * a.head_dim,
        a.head_dim, group);
    CommitAsync();
    WaitAsync<0>();
    // The queries were loaded by all warps.
    __syncthreads();
  }

  float undo[kTiles][2];
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      undo[n][i] = query_factors[n * 8 + lane % 4 * 2 + i] * a.scale * 1.4426950408889634f;
    }
  }
  const int64_t first_part =
      static_cast<int64_t>(share.tile) * workspace.max_runs * a.num_heads + first_head;
  CodeSums<kD, kTiles> sums;
  sums.Clear();
  while (true) {
    // The keys are there; the values are, or were asked for after them.
    const Cursor next = walk.After(cursor);
    const bool has_next = next.run < runs;
    // Looked up early: its latency would stand before that of the keys themselves.
    const int next_place = has_next ? place_of(next) : 0;
    const int count = count_of(cursor), next_count = count_of(next);
    float scores[kSlice / 16][kTiles][4];
    if (count > 0) ScoreCodes<kD, kSlice, kTiles>(scores, q_tile, k_codes);
    __syncwarp();
    Scales next_scales;
    if (has_next) {
      LoadCodes<kD, kAligned, kSlice>(k_codes, keys.kv.keys, a.head_dim, next_place, next_count,
                                      -1);
      next_scales.Load(keys.kv, next_place, lane < next_count);
    }
    CommitAsync();
    if (count > 0) {
      WeighCodes<kD, kSlice, kTiles>(sums, scores, KeyFactors(scales.key, scales.value, count),
                                     undo);
    }
    // Values, not the next keys.
    WaitAsync<1>();
    __syncwarp();
    if (count > 0) AddCodes<kD, kSlice, kTiles>(sums, scores, v_codes);
    __syncwarp();
    if (next.run != cursor.run) {
      MergeWarps<kD, kWarps, kPartStride>(
          sums, parts, warp_stats, group,
          [&](int row, int col, float maximum, float sum, const float4& value) {
            const int64_t at = first_part + static_cast<int64_t>(cursor.run) * a.num_heads + row;
            StoreRun<kD, kAligned>(workspace, at, runs, out + row * a.head_dim, col, a.head_dim,
                                   maximum, sum, value);
          });
      sums.Clear();
    }
    if (!has_next) break;
    LoadCodes<kD, kAligned, kSlice>(v_codes, keys.kv.values, a.head_dim, next_place, next_count,
                                    -1);
    CommitAsync();
    cursor = next;
    scales = next_scales;
    // The next keys, not the values.
    WaitAsync<1>();
    __syncwarp();
  }
  if (runs == 1) return;
  FinishRuns<kD, kAligned, kThreads>(workspace, first_part, a.num_heads, a.head_dim, work,
                                     &is_last);
}

template <int kD, bool kAligned, int kTiles, int kVariant>
void Launch(const AttentionArguments& a, const PagedFloat8Keys& keys, const HeadGroups& groups,
            const DecodeShare* shares, int num_shares, const DecodeWorkspace& workspace,
            Stream& stream) {
  constexpr DecodeVariant kShape = kDecodeVariants[kVariant];
  constexpr int kBytes = kShape.warps * WarpMemory<kD, kShape.keys_per_warp>::kBytes +
                         kTiles * 8 * (kD + kPad) * static_cast<int>(sizeof(__half));
  const auto kernel =
      DecodeFloat8Kernel<kD, kAligned, kTiles, kShape.warps, kShape.keys_per_warp, kShape.run_keys>;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(keys.num_kv_heads * DecodePasses(groups.max_group), num_shares);
  LaunchOverlapped(kernel, grid, dim3(kShape.warps * 32), kBytes, stream, a, keys,
                   groups.kv_q_start, shares, workspace);
}

}  // namespace

void PagedDecodeAttention(const AttentionArguments& a, const PagedFloat8Keys& keys,
                          const HeadGroups& groups, const DecodeShare* shares, int num_shares,
                          const DecodeWorkspace& workspace, int variant, Stream& stream) {
  if (num_shares == 0) return;
  SKEIN_CHECK(a.head_dim >= 4 && a.head_dim <= 128 && a.head_dim % 4 == 0, "head_dim %d",
              a.head_dim);
  const bool is_aligned = a.head_dim % 16 == 0 && a.q_stride % 8 == 0 && a.out_stride % 8 == 0;
  const auto launch = [&]<int kD, int kVariant>() {
    const auto kernel = !is_aligned             ? Launch<kD, false, 2, 0>
                        : groups.max_group <= 8 ? Launch<kD, true, 1, kVariant>
                                                : Launch<kD, true, 2, kVariant>;
    kernel(a, keys, groups, shares, num_shares, workspace, stream);
  };
  CallDecodeInstance(a.head_dim, is_aligned, variant, launch);
}

}  // namespace skein::cuda
