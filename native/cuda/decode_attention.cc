#include "cuda/decode_attention.h"

#include <algorithm>

namespace skein::cuda {

void DecodeAttention::Reserve(const StepLimits& limits) {
  int64_t sequences = std::min(limits.max_sequences, limits.max_rows);
  for (const int32_t bucket : limits.graph_buckets) {
    sequences = std::max<int64_t>(sequences, bucket);
  }
  const int64_t max_keys =
      std::max(limits.max_model_length, limits.max_blocks_per_sequence * limits.block_size);
  // The first variant has the shortest runs, and so the most.
  const int max_runs = RunsOf(static_cast<int>(max_keys), kDecodeVariants[0].run_keys);
  workspace_.Get(sequences, max_runs, limits.num_query_heads, limits.num_kv_heads,
                 static_cast<int>(limits.num_query_heads), static_cast<int>(limits.head_dim),
                 stream_, before_move_);
}

DecodeWorkspace DecodeAttention::WorkspaceFor(int variant, const AttentionArguments& arguments,
                                              const DeviceTables::HeadMap& map,
                                              const DeviceMetadata& metadata, int block_size,
                                              int num_kv_heads) {
  const int max_runs =
      RunsOf(metadata.max_blocks() * block_size, kDecodeVariants[variant].run_keys);
  return workspace_.Get(metadata.num_decode_tiles(), max_runs, arguments.num_heads, num_kv_heads,
                        map.max_group, arguments.head_dim, stream_, before_move_);
}

void DecodeAttention::Run(const AttentionArguments& arguments, const PagedKeys& keys,
                          const DeviceTables::HeadMap& map, const DeviceMetadata& metadata,
                          const DecodeRotary& rotary) {
  const int tiles = metadata.num_decode_tiles();
  if (tiles == 0) return;
  const int variant = ChooseDecodeVariant(tiles, keys.num_kv_heads, arguments.head_dim);
  const DecodeWorkspace workspace =
      WorkspaceFor(variant, arguments, map, metadata, keys.block_size, keys.num_kv_heads);
  PagedDecodeAttention(arguments, keys, {map.kv_q_start.As<int32_t>(), map.max_group},
                       metadata.decode_shares(), metadata.num_decode_shares(), workspace, variant,
                       stream_, rotary);
}

void DecodeAttention::Run(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
                          const DeviceTables::HeadMap& map, const DeviceMetadata& metadata) {
  const int tiles = metadata.num_decode_tiles();
  if (tiles == 0) return;
  const int variant = ChooseFloat8DecodeVariant(tiles, keys.num_kv_heads, arguments.head_dim);
  const DecodeWorkspace workspace =
      WorkspaceFor(variant, arguments, map, metadata, keys.block_size, keys.num_kv_heads);
  PagedDecodeAttention(arguments, keys, {map.kv_q_start.As<int32_t>(), map.max_group},
                       metadata.decode_shares(), metadata.num_decode_shares(), workspace, variant,
                       stream_);
}

}  // namespace skein::cuda
