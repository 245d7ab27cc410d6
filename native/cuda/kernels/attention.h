// Attention launchers: raw pointers, no model types. bfloat16 in and out, float32 scores and sums.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace skein::cuda {

// One tile of queries of one sequence: rows query_row .. + num_rows - 1 of q stand at positions
// first_position ...
struct QueryTile {
  int32_t query_row;
  int32_t num_rows;        // at most kQueryTileRows
  int32_t first_position;  // of the first row
  int32_t context_length;  // keys at positions below this exist
  int32_t table_row;       // paged: row of block_tables; contiguous: first key row
};

inline constexpr int kQueryTileRows = 64;
// Keys that one decode block works through; splits lie at multiples of it, so that bits do not
// depend on the batch.
inline constexpr int kDecodeSplit = 128;

// Keys and values in blocks: [blocks, kv_heads, block_size, head_dim] each.
struct PagedKeys {
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  const int32_t* block_tables;  // [sequences, max_blocks]
  int32_t max_blocks;
  int32_t block_size;
  int32_t num_kv_heads;
};

// Keys and values as columns of a matrix: row r, head h at base + r * row_stride + h * head_dim.
struct ContiguousKeys {
  const __nv_bfloat16* keys;
  const __nv_bfloat16* values;
  int64_t row_stride;
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

// Causal, over the paged cache. tiles: [num_tiles] on the device.
void PagedPrefillAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                           const QueryTile* tiles, int num_tiles, cudaStream_t stream);

// Bidirectional, keys beside the queries (vision tower).
void ContiguousAttention(const AttentionArguments& arguments, const ContiguousKeys& keys,
                         const QueryTile* tiles, int num_tiles, cudaStream_t stream);

// One query row a sequence; tiles[i].num_rows is 1, or 0 for a padded row, whose output becomes
// zero. The context is split in parts of kDecodeSplit keys that run side by side. kv_q_start
// [num_kv_heads + 1] on the device: first query head of each KV head. partial: float32 [num_tiles,
// num_heads, max_splits, head_dim + 2] (maximum, sum, weighted values).
void PagedDecodeAttention(const AttentionArguments& arguments, const PagedKeys& keys,
                          const int32_t* kv_q_start, const QueryTile* tiles, int num_tiles,
                          int max_splits, float* partial, cudaStream_t stream);

}  // namespace skein::cuda
