#include "cuda/step_attention.h"

namespace skein::cuda {

StepAttention::StepAttention(Stream& stream, int num_processors, bool deterministic,
                             const std::function<void()>& before_move)
    : stream_(stream), decodes_(stream, before_move) {
  if (deterministic) fixed_runs_.emplace(stream, num_processors, before_move);
}

void StepAttention::Reserve(const StepLimits& limits) {
  if (limits.num_query_heads == 0) return;
  if (fixed_runs_) {
    fixed_runs_->Reserve(limits);
  } else {
    decodes_.Reserve(limits);
  }
}

void StepAttention::Run(const AttentionArguments& arguments, const PagedKeys& keys,
                        const DeviceTables::HeadMap& map, const DeviceMetadata& metadata) {
  const FixedRuns runs =
      fixed_runs_ ? fixed_runs_->Get(arguments, map.max_group, metadata, keys) : FixedRuns{};
  PagedPrefillAttention(arguments, keys, {map.kv_q_start.As<int32_t>(), map.max_group},
                        metadata.prefill_tiles(), metadata.num_prefill_tiles(),
                        metadata.prefill_tile_rows(), stream_, AttentionKernel::kBest, runs);
  decodes_.Run(arguments, keys, map, metadata);
}

void StepAttention::Run(const AttentionArguments& arguments, const PagedFloat8Keys& keys,
                        const DeviceTables::HeadMap& map, const DeviceMetadata& metadata) {
  PagedPrefillAttention(arguments, keys, metadata.prefill_tiles(), metadata.num_prefill_tiles(),
                        metadata.prefill_tile_rows(), stream_);
  decodes_.Run(arguments, keys, map, metadata);
}

}  // namespace skein::cuda
