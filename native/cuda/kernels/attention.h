// Attention launchers: raw pointers, no model types. bfloat16 in and out, float32 scores and sums.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "cuda/decode_list.h"
#include "cuda/kernels/fixed_runs.h"
#include "cuda/kernels/kv_float8.h"
#include "cuda/stream.h"

namespace skein::cuda {

// One tile of queries of one sequence: rows query_row .. + num_rows - 1 of q stand at positions
// first_position ... A tile of no rows is a padded row: its output becomes zero.
struct QueryTile {
  int32_t query_row;
  int32_t num_rows;        // at most the launch's tile_rows
  int32_t first_position;  // of the first row
  int32_t context_length;  // keys at positions below this exist
  int32_t table_row;       // paged: row of block_tables; contiguous: first key row
};

// Rows of a tile of queries, at most; a row's bits are the same with each. The larger reads keys
// half as often, the smaller wastes less on steps of few rows.
inline constexpr int kSmallTileRows = 64;
inline constexpr int kLargeTileRows = 128;

// Keys and values in blocks: [blocks, kv_heads, block_size, head_dim] each.
struct PagedKeys {
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int32_t* block_tables;  // [sequences, max_blocks]
  int32_t max_blocks;
  int32_t block_size;
  int32_t num_kv_heads;
  int32_t num_blocks;
};

// The same in float8.
struct PagedFloat8Keys {
  Float8Kv kv;
  const int32_t* block_tables;
  int32_t max_blocks;
  int32_t block_size;
  int32_t num_kv_heads;
};

// Keys and values as columns of a matrix: row r, head h at base + r * row_stride + h * head_dim.
// Its rows are those of sequences of the same length, one after the other.
struct ContiguousKeys {
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  int64_t row_stride;
  int32_t sequence_rows;
  int32_t num_sequences;
};

// Query heads kv_q_start[h] .. kv_q_start[h + 1] - 1 use KV head h; [num_kv_heads + 1] on the
// device. max_group is the largest number of those.
struct HeadGroups {
  const int32_t* kv_q_start;
  int32_t max_group;
};

struct AttentionArguments {
  const __nv_bfloat16* q;  // row r, head h at q + r * q_stride + h * head_dim
  int64_t q_stride;
  __nv_bfloat16* out;  // row r, head h at out + r * out_stride + h * head_dim
  int64_t out_stride;
  const int32_t*
      q_to_kv;  // [num_heads] on the device, not descending; nullptr: head h uses KV head h
  int32_t num_heads;
  int32_t head_dim;  // at most 128
  float scale;
};

// Hopper has a kernel of its own, for heads and rows of whole 16 bytes and blocks of whole sixteens
// of keys; the tiled one takes everything everywhere. The device and the model decide, not the
// step: each gives a row the same bits in every step, the two of them differ.
enum class AttentionKernel { kBest, kTiled };

// Causal, over the paged cache. tiles: [num_tiles] on the device, best with those of most keys
// first, for they take longest; where runs are split, the first must have the most, and they are
// those of rows 0 .. num_tiles - 1. The tiled kernel has no runs: it sums in one order anyway.
void PagedPrefillAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                           const HeadGroups& groups, const QueryTile* tiles, int num_tiles,
                           int tile_rows, Stream& stream,
                           AttentionKernel kernel = AttentionKernel::kBest,
                           const FixedRuns& runs = {});

// The same over a cache in float8, for which there is the tiled kernel alone; a row's bits are the
// same with any tile_rows.
void PagedPrefillAttention(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
                           const QueryTile* tiles, int num_tiles, int tile_rows, Stream& stream);

// Bidirectional, keys beside the queries (vision tower). Tiles that are not full best last.
void ContiguousAttention(const AttentionArguments& arguments, const ContiguousKeys& keys,
                         const QueryTile* tiles, int num_tiles, int tile_rows, Stream& stream,
                         AttentionKernel kernel = AttentionKernel::kBest);

// ---- decode: one query row a sequence ----
// How the decode kernel cuts its work: `warps` of a block take keys_per_warp keys each at a time.
// Other variants than the first exist for heads of 65 to 128 dimensions only, to be measured.
struct DecodeVariant {
  int warps;
  int keys_per_warp;
  int run_keys;
};
inline constexpr DecodeVariant kDecodeVariants[] = {
    {4, 32, 128}, {4, 32, 256}, {8, 16, 128}, {4, 16, 128}};
inline constexpr int kNumDecodeVariants = sizeof(kDecodeVariants) / sizeof(DecodeVariant);

// Blocks that a multiprocessor has under way together.
constexpr int DecodeBlocksAtOnce(int warps) { return warps == 8 ? 2 : 3; }
// Over a cache in float8; heads: of a KV head, that a block has room for or serves.
constexpr int Float8DecodeBlocksAtOnce(int warps, int heads) {
  return warps == 8 ? 2 : heads <= 8 ? 4 : 3;
}

// Measured on an H200 at heads of 128 dimensions: where sequences and KV heads alone do not fill
// the GPU, more warps a block are 15 % faster (6.0 us for one sequence of 1,400 keys); where they
// do, longer runs are (30 us for 16 such sequences, 8 % less than with short ones).
inline int ChooseDecodeVariant(int num_tiles, int num_kv_heads, int head_dim) {
  if (head_dim <= 64 || head_dim % 8 != 0) return 0;
  return num_tiles * num_kv_heads <= 16 ? 2 : 1;
}

// Over a cache in float8 the variants are those of rows of whole sixteens.
inline int ChooseFloat8DecodeVariant(int num_tiles, int num_kv_heads, int head_dim) {
  return head_dim % 16 == 0 ? ChooseDecodeVariant(num_tiles, num_kv_heads, head_dim) : 0;
}

// Query heads of one KV head that one block serves, as the rows of tensor core products.
inline constexpr int kDecodeHeads = 16;

// Columns of a partial result: head_dim rounded up to what the kernel is compiled for.
inline int DecodeColumns(int head_dim) {
  return head_dim <= 16 ? 16 : head_dim <= 32 ? 32 : head_dim <= 64 ? 64 : 128;
}

struct DecodeWorkspace {
  float* values;      // [tiles, max_runs, num_heads, DecodeColumns(head_dim)], unnormalised
  float2* stats;      // [tiles, max_runs, num_heads]: maximum (in powers of two), sum
  int32_t* counters;  // [tiles, num_kv_heads * passes]; zero, and left zero
  int32_t max_runs;
};

struct DecodeSize {
  size_t values_bytes, stats_bytes, counters_bytes;
  size_t total() const { return values_bytes + stats_bytes + counters_bytes; }
};

// Blocks that share a KV head's query heads: max_group is the largest number of those.
inline int DecodePasses(int max_group) {
  return std::max(1, (max_group + kDecodeHeads - 1) / kDecodeHeads);
}

inline DecodeSize SizeOfDecodeWorkspace(int64_t tiles, int64_t max_runs, int64_t num_heads,
                                        int64_t num_kv_heads, int max_group, int head_dim) {
  const auto parts = static_cast<size_t>(tiles * max_runs * num_heads);
  return {parts * static_cast<size_t>(DecodeColumns(head_dim)) * sizeof(float),
          parts * sizeof(float2),
          static_cast<size_t>(tiles * num_kv_heads * DecodePasses(max_group)) * sizeof(int32_t)};
}

// What a step's list of decode work follows from, beside the step's number of sequences.
struct DecodeShape {
  int num_kv_heads = 1, max_group = 1, head_dim = 128;
  int max_keys = 1 << 30;  // of a context
  int num_processors = 1;
  bool has_float8_cache = false;

  int ChooseVariant(int num_tiles) const {
    return has_float8_cache ? ChooseFloat8DecodeVariant(num_tiles, num_kv_heads, head_dim)
                            : ChooseDecodeVariant(num_tiles, num_kv_heads, head_dim);
  }
};

inline DecodeCut CutFor(const DecodeShape& shape, int num_tiles, int variant, int waves = 0) {
  const DecodeVariant& block = kDecodeVariants[variant];
  // Rows of codes that are not whole sixteens have one kernel, for most heads.
  const int heads = shape.head_dim % 16 == 0 ? shape.max_group : kDecodeHeads;
  const int blocks_at_once = shape.has_float8_cache ? Float8DecodeBlocksAtOnce(block.warps, heads)
                                                    : DecodeBlocksAtOnce(block.warps);
  return CutDecodes(num_tiles, shape.num_kv_heads * DecodePasses(shape.max_group),
                    shape.num_processors * blocks_at_once, block.run_keys, shape.max_keys, waves);
}

// What decode attention does before: q rows continue with the row's keys and values, [num_heads + 2
// num_kv_heads, head_dim]; it rotates queries and keys on their way to shared memory, and stores
// the row's key and value in the cache. The bits are those of RotaryStoreKv and attention behind
// it, and q stays as it is.
struct DecodeRotary {
  const float* inverse_frequencies = nullptr;  // [head_dim / 2]; null: all that is done already
  // Those of PagedKeys.
  __nv_bfloat16* keys = nullptr;
  __nv_bfloat16* values = nullptr;
};
// Which heads and rows it takes so.
inline bool RotatesInDecode(int64_t head_dim, int64_t q_stride, int64_t out_stride) {
  return head_dim % 16 == 0 && q_stride % 8 == 0 && out_stride % 8 == 0;
}

// Causality needs no mask: the row stands at the end of its context. Reads all keys and values but
// the last before the kernels in front of it have ended: those must be of earlier steps. shares:
// [num_shares] on the device, each share of each sequence once (decode_list.h).
void PagedDecodeAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                          const HeadGroups& groups, const DecodeShare* shares, int num_shares,
                          const DecodeWorkspace& workspace, int variant, Stream& stream,
                          const DecodeRotary& rotary = {});
// The same over a cache in float8, whose row has been stored by a kernel in front.
void PagedDecodeAttention(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
                          const HeadGroups& groups, const DecodeShare* shares, int num_shares,
                          const DecodeWorkspace& workspace, int variant, Stream& stream);

}  // namespace skein::cuda
