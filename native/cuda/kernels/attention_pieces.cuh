// The work of Hopper's attention kernel, cut in pieces, and how a block goes through them.
#pragma once

#include <cuda.h>

#include "cuda/kernels/attention.h"

namespace skein::cuda::warpgroup {

// Boxes of keys and of values: of paged ones, 16 keys of a block (columns, rows of the cache); of
// contiguous ones, a whole tile (columns, head, row, sequence). 64 columns each, zeros outside.
struct KeyMaps {
  CUtensorMap keys, values;
};

inline constexpr int kBoxKeys = 16;
inline constexpr int kPieceRows = 128;

struct Operands {
  AttentionArguments a;
  int32_t num_kv_heads;
  const QueryTile* tiles;
  int32_t num_tiles;
  int32_t pieces_per_head;  // of a tile and KV head: enough for the largest group
  // Paged.
  const int32_t* kv_q_start;  // [num_kv_heads + 1]
  const int32_t* block_tables;
  int32_t max_blocks;
  int32_t block_size;
  const __nv_bfloat16* values;
  // Contiguous.
  int32_t sequence_rows;
  int32_t num_full_tiles;  // the first of tiles
  // Of the instance that adds up in fixed runs.
  FixedRuns runs;
};

// A piece of work.
struct Piece {
  QueryTile tile;
  int kv_head;
  int first_head, group;
  int first;     // row of the tile's group * num_rows
  int num_rows;  // at most kPieceRows
  int num_keys;
  int run;  // the only one that it has of its keys; -1: all
};

// The run `run` of a piece's keys, as far as they exist.
__device__ __forceinline__ KeyRun RunOf(const Piece& piece, int run) {
  const KeyRun keys = RunAt(run, kFixedRunKeys);
  return {keys.begin, min(keys.length, piece.num_keys - keys.begin)};
}

// The pieces of a block: every gridDim.x-th, there and back, since the first ones are the longest.
// Neighbours have the same keys: paged, the heads of a group; contiguous, the tiles of a sequence.
// Split, the first runs of all tiles come first, then the second ones, as many as the first tile
// has, which has the most.
template <bool kPaged, bool kInRuns>
struct Pieces {
  const Operands& p;
  int round = 0;

  // Those of tiles with no rows have none either.
  __device__ __forceinline__ bool Next(Piece* piece) {
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
    int count = p.num_tiles * p.num_kv_heads * p.pieces_per_head;
    if constexpr (kInRuns) {
      if (p.runs.is_split()) count *= max(1, RunsOf(p.tiles[0].context_length, kFixedRunKeys));
    }
    for (; round * blocks < count; ++round) {
      const int index = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
      if (index >= count) continue;
      if (!Read(index, piece)) continue;
      ++round;
      return true;
    }
    return false;
  }

 private:
  __device__ __forceinline__ bool Read(int index, Piece* piece) const {
    if constexpr (kInRuns) {
      const int whole = p.num_tiles * p.num_kv_heads * p.pieces_per_head;
      piece->run = p.runs.is_split() ? index / whole : -1;
      index %= whole;
    }
    piece->first = index % p.pieces_per_head * kPieceRows;
    index /= p.pieces_per_head;
    if constexpr (kPaged) {
      piece->kv_head = index % p.num_kv_heads;
      piece->tile = p.tiles[index / p.num_kv_heads];
      piece->first_head = p.kv_q_start[piece->kv_head];
      piece->group = p.kv_q_start[piece->kv_head + 1] - piece->first_head;
    } else {
      const int full = p.num_full_tiles * p.num_kv_heads;
      const int first = index < full ? 0 : p.num_full_tiles;
      const int count = index < full ? p.num_full_tiles : p.num_tiles - p.num_full_tiles;
      if (index >= full) index -= full;
      piece->kv_head = index / count;
      piece->tile = p.tiles[first + index % count];
      piece->first_head = piece->kv_head;
      piece->group = 1;
    }
    const QueryTile& tile = piece->tile;
    if (tile.num_rows == 0) {
      piece->num_rows = 0;
      if (kInRuns && piece->run > 0) return false;
      return piece->first == 0 && piece->group > 0;
    }
    piece->num_rows = min(kPieceRows, piece->group * tile.num_rows - piece->first);
    if (piece->num_rows <= 0) return false;
    const int last = tile.first_position + (piece->first + piece->num_rows - 1) / piece->group;
    piece->num_keys = kPaged ? min(last + 1, tile.context_length) : tile.context_length;
    if constexpr (kInRuns) {
      return piece->run < 0 || RunAt(piece->run, kFixedRunKeys).begin < piece->num_keys;
    }
    return true;
  }
};

}  // namespace skein::cuda::warpgroup
