// Decode attention over the paged cache, split over the context (Flash-Decoding). Grid: (KV head,
// share); a block works through the runs of its share (decode_runs.h) and leaves an unnormalised
// partial result for each; the last block of a sequence and KV head to finish combines them in
// order.
//
// The query heads that share the KV head are the rows of m16n8k16 products, so every key and value
// is read once. Warps share nothing within a run: each loads its own keys by cp.async and keeps its
// own softmax; the next keys are on their way while the values are multiplied and the other way
// round. They meet at the end of a run.

#include "cuda/cuda_check.h"
#include "cuda/kernels/attention.h"
#include "cuda/kernels/attention_decode.cuh"
#include "cuda/kernels/attention_runs.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

using namespace decode;

template <int kD, bool kAligned, bool kRotates, int kWarps, int kSlice, int kRunKeys>
__global__ void __launch_bounds__(kWarps * 32, DecodeBlocksAtOnce(kWarps))
    DecodeKernel(AttentionArguments a, PagedKeys keys, const int32_t* kv_q_start,
                 const DecodeShare* shares, DecodeWorkspace workspace, DecodeRotary rotary) {
  constexpr int kThreads = kWarps * 32;
  constexpr int kChunk = kWarps * kSlice;
  constexpr int kTile = kSlice * (kD + kPad);
  static_assert(kRunKeys % kChunk == 0, "a run is whole chunks");
  static_assert(kSlice == 16 || kSlice == 32, "one lane holds one key's place");
  // The warps' sums meet in the memory of their values.
  constexpr int kPartStride = kTile / 2;
  static_assert(8 * (kD + 8) <= kPartStride, "eight rows of sums fit a warp's values");
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  __shared__ float2 warp_stats[kWarps][kDecodeHeads];
  __shared__ bool is_last;
  __shared__ float2 turns[kRotates ? kD / 2 : 1];
  static_assert(kAligned || !kRotates, "rotated eight columns at a time");

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
  auto* const k_tiles = reinterpret_cast<__nv_bfloat16*>(shared_bytes);
  __nv_bfloat16* const v_tiles = k_tiles + kWarps * kTile;
  __nv_bfloat16* const q_tile = v_tiles + kWarps * kTile;
  __nv_bfloat16* const k_tile = k_tiles + warp * kTile;
  __nv_bfloat16* const v_tile = v_tiles + warp * kTile;

  const Walk<kRunKeys, kChunk> walk{share.context_length, runs, share.count};
  const int32_t* table =
      keys.block_tables + static_cast<int64_t>(share.table_row) * keys.max_blocks;
  const auto place_of = [&](const Cursor& cursor) {
    const int position = cursor.begin + warp * kSlice + lane;
    if (lane >= kSlice || position >= cursor.end) return -1;
    return PlaceOf(keys, table, kv_head, position);
  };

  // All keys but the step's own are of earlier steps: they come while the kernels in front finish.
  Cursor cursor = walk.AtRun(share.index);
  {
    const int place = place_of(cursor);
    const int own_row = own_position - (cursor.begin + warp * kSlice);
    const bool has_own_row = own_row >= 0 && own_row < kSlice && own_position < cursor.end;
    const int skip = has_own_row ? own_row : -1;
    LoadRows<kD, kAligned, kSlice>(k_tile, keys.keys, a.head_dim, place, skip);
    LoadRows<kD, kAligned, kSlice>(v_tile, keys.values, a.head_dim, place, skip);
    const __nv_bfloat16* row = a.q + static_cast<int64_t>(share.query_row) * a.q_stride;
    const __nv_bfloat16* q = row + static_cast<int64_t>(first_head) * a.head_dim;
    if constexpr (kRotates) {
      // Positions do not change while the step runs.
      for (int pair = threadIdx.x; pair < a.head_dim / 2; pair += kThreads) {
        turns[pair] = TurnOf(static_cast<float>(own_position), rotary.inverse_frequencies, pair);
      }
      const __nv_bfloat16* key = row + static_cast<int64_t>(a.num_heads + kv_head) * a.head_dim;
      const __nv_bfloat16* value = key + static_cast<int64_t>(keys.num_kv_heads) * a.head_dim;
      OwnRow own{};
      // The block of the last run stores the key and the value; it, and no other, reads them, from
      // the cache if not among its first keys.
      if ((runs - 1) % share.count == share.index) {
        const int position = own_position, of_chunk = position - cursor.begin;
        if (of_chunk < kChunk && position < cursor.end) {
          const int at = of_chunk / kSlice * kTile + of_chunk % kSlice * (kD + kPad);
          own.key_tile = k_tiles + at;
          own.value_tile = v_tiles + at;
        }
        const int64_t slot =
            (static_cast<int64_t>(table[position / keys.block_size]) * keys.num_kv_heads +
             kv_head) *
                keys.block_size +
            position % keys.block_size;
        own.key_slot = rotary.keys + slot * a.head_dim;
        own.value_slot = rotary.values + slot * a.head_dim;
      }
      __syncthreads();
      WaitForPrevious();
      LoadRotated<kD, kThreads>(q_tile, q, key, value, own, turns, a.head_dim, group);
    } else {
      WaitForPrevious();
      if (has_own_row) {
        LoadRow<kD, kAligned>(k_tile, keys.keys, a.head_dim, place, own_row);
        LoadRow<kD, kAligned>(v_tile, keys.values, a.head_dim, place, own_row);
      }
      LoadQueries<kD, kAligned, kThreads>(q_tile, q, a.head_dim, group);
    }
    CommitAsync();
    WaitAsync<0>();
    // The queries were loaded by all warps.
    __syncthreads();
  }

  const float scale_log2 = a.scale * 1.4426950408889634f;
  const int64_t first_part =
      static_cast<int64_t>(share.tile) * workspace.max_runs * a.num_heads + first_head;
  WarpSums<kD> sums;
  sums.Clear();
  while (true) {
    // The keys are there; the values are, or were asked for after them.
    const Cursor next = walk.After(cursor);
    const bool has_next = next.run < runs;
    // Looked up early: its latency would stand before that of the keys themselves.
    const int next_place = has_next ? place_of(next) : -1;
    const int count = cursor.end - (cursor.begin + warp * kSlice);
    float scores[kSlice / 8][4];
    if (count > 0) ScoreKeys<kD, kSlice>(scores, q_tile, k_tile);
    __syncwarp();
    if (has_next) {
      LoadRows<kD, kAligned, kSlice>(k_tile, keys.keys, a.head_dim, next_place, -1);
    }
    CommitAsync();
    if (count > 0) WeighKeys<kD, kSlice>(sums, scores, count, scale_log2);
    // Values, not the next keys.
    WaitAsync<1>();
    __syncwarp();
    if (count > 0) AddValues<kD, kSlice>(sums, scores, v_tile);
    __syncwarp();
    if (next.run != cursor.run) {
      MergeWarps<kD, kWarps, kPartStride>(
          sums, reinterpret_cast<float*>(v_tiles), warp_stats, group,
          [&](int row, int col, float maximum, float sum, const float4& value) {
            const int64_t at = first_part + static_cast<int64_t>(cursor.run) * a.num_heads + row;
            StoreRun<kD, kAligned>(workspace, at, runs, out + row * a.head_dim, col, a.head_dim,
                                   maximum, sum, value);
          });
      sums.Clear();
    }
    if (!has_next) break;
    LoadRows<kD, kAligned, kSlice>(v_tile, keys.values, a.head_dim, next_place, -1);
    CommitAsync();
    cursor = next;
    // The next keys, not the values.
    WaitAsync<1>();
    __syncwarp();
  }
  if (runs == 1) return;

  FinishRuns<kD, kAligned, kThreads>(workspace, first_part, a.num_heads, a.head_dim, work,
                                     &is_last);
}

template <int kD, bool kAligned, bool kRotates, int kVariant>
void Launch(const AttentionArguments& a, const PagedKeys& keys, const HeadGroups& groups,
            const DecodeShare* shares, int num_shares, const DecodeWorkspace& workspace,
            const DecodeRotary& rotary, Stream& stream) {
  constexpr DecodeVariant kShape = kDecodeVariants[kVariant];
  constexpr int kBytes = (2 * kShape.warps * kShape.keys_per_warp + kDecodeHeads) * (kD + kPad) *
                         static_cast<int>(sizeof(__nv_bfloat16));
  const auto kernel =
      DecodeKernel<kD, kAligned, kRotates, kShape.warps, kShape.keys_per_warp, kShape.run_keys>;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  const dim3 grid(keys.num_kv_heads * DecodePasses(groups.max_group), num_shares);
  LaunchOverlapped(kernel, grid, dim3(kShape.warps * 32), kBytes, stream, a, keys,
                   groups.kv_q_start, shares, workspace, rotary);
}

}  // namespace

void PagedDecodeAttention(const AttentionArguments& a, const PagedKeys& keys,
                          const HeadGroups& groups, const DecodeShare* shares, int num_shares,
                          const DecodeWorkspace& workspace, int variant, Stream& stream,
                          const DecodeRotary& rotary) {
  if (num_shares == 0) return;
  SKEIN_CHECK(a.head_dim >= 1 && a.head_dim <= 128, "head_dim %d", a.head_dim);
  const bool is_aligned = a.head_dim % 8 == 0 && a.q_stride % 8 == 0 && a.out_stride % 8 == 0;
  const bool rotates = rotary.inverse_frequencies != nullptr;
  SKEIN_CHECK(!rotates || RotatesInDecode(a.head_dim, a.q_stride, a.out_stride), "head_dim %d",
              a.head_dim);
  const auto launch = [&]<int kD, int kVariant>() {
    const auto kernel = rotates      ? Launch<kD, true, true, kVariant>
                        : is_aligned ? Launch<kD, true, false, kVariant>
                                     : Launch<kD, false, false, 0>;
    kernel(a, keys, groups, shares, num_shares, workspace, rotary, stream);
  };
  CallDecodeInstance(a.head_dim, is_aligned, variant, launch);
}

}  // namespace skein::cuda
