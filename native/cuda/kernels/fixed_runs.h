// Deterministic mode: Hopper's attention kernel sums keys in runs, as decode attention has them
// (RunAt), and the runs' sums in order. So a block may have one run of a decode's keys only, as the
// few sequences of a step want it, and a prompt's rows get the same bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace skein::cuda {

// Shorter runs share a context out better, and cost prompts more: behind each a block keeps its
// sums.
inline constexpr int kFixedRunKeys = 2048;
// Steps of so many decodes at most, with so many heads a KV head, have each run as a piece.
inline constexpr int kMostSplitTiles = 32;
inline constexpr int kMostSplitHeads = 64;
// Columns of a run's sums.
constexpr int FixedRunColumns(int head_dim) { return head_dim <= 64 ? 64 : 128; }
// What a block keeps of a piece's sums: of 256 threads, their sums of 128 rows and, of two of them,
// maxima and totals.
constexpr int KeptFloats(int head_dim) { return 256 * (FixedRunColumns(head_dim) / 2 + 4); }

// Where such sums wait; all null: keys are not summed in runs.
struct FixedRuns {
  float* kept;  // [multiprocessors, KeptFloats(head_dim)]
  // Of steps with decodes alone, tile by row; null where their runs are not split. As a
  // DecodeWorkspace has them, with FixedRunColumns.
  float* values;
  float2* stats;
  int32_t* counters;
  int32_t max_runs;

  __host__ __device__ bool is_split() const { return values != nullptr; }
};

}  // namespace skein::cuda
