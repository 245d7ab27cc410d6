#include "cuda/fixed_runs.h"

#include <algorithm>

namespace skein::cuda {

void FixedRunsMemory::Reserve(const StepLimits& limits) {
  Kept();
  int64_t sequences = std::min(limits.max_sequences, limits.max_rows);
  for (const int32_t bucket : limits.graph_buckets) {
    sequences = std::max<int64_t>(sequences, bucket);
  }
  Parts(std::min<int64_t>(sequences, kMostSplitTiles),
        std::max(limits.max_model_length, limits.max_blocks_per_sequence * limits.block_size),
        limits.num_query_heads, limits.num_kv_heads, limits.head_dim);
}

FixedRuns FixedRunsMemory::Get(const AttentionArguments& arguments, int max_group,
                               const DeviceMetadata& metadata, const PagedKeys& keys) {
  FixedRuns runs{};
  runs.kept = Kept();
  const int tiles = metadata.num_prefill_tiles();
  // More decodes keep the GPU busy with a piece each.
  if (metadata.prefill_tile_rows() > 1 || tiles > kMostSplitTiles) return runs;
  if (max_group > kMostSplitHeads) return runs;
  const DecodeWorkspace parts = Parts(tiles, int64_t{metadata.max_blocks()} * keys.block_size,
                                      arguments.num_heads, keys.num_kv_heads, arguments.head_dim);
  runs.values = parts.values, runs.stats = parts.stats, runs.counters = parts.counters;
  runs.max_runs = parts.max_runs;
  return runs;
}

DecodeWorkspace FixedRunsMemory::Parts(int64_t tiles, int64_t max_keys, int64_t num_heads,
                                       int64_t num_kv_heads, int64_t head_dim) {
  return parts_.Get(tiles, RunsOf(static_cast<int>(max_keys), kFixedRunKeys), num_heads,
                    num_kv_heads, 1, FixedRunColumns(static_cast<int>(head_dim)), stream_,
                    before_move_);
}

float* FixedRunsMemory::Kept() {
  // Of heads of any width.
  if (kept_.bytes() == 0) {
    kept_ = DeviceMemory(static_cast<size_t>(num_processors_) * KeptFloats(128) * sizeof(float));
  }
  return kept_.As<float>();
}

}  // namespace skein::cuda
