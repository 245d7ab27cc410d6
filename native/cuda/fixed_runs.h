// Where deterministic mode's attention keeps the sums of runs of keys, one place for all layers.
#pragma once

#include <functional>
#include <utility>

#include "cuda/decode_workspace.h"
#include "cuda/kernels/attention.h"
#include "cuda/step_metadata.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

class FixedRunsMemory {
 public:
  // `before_move` runs before the memory moves, which recorded graphs would not survive.
  FixedRunsMemory(Stream& stream, int num_processors, std::function<void()> before_move)
      : stream_(stream), num_processors_(num_processors), before_move_(std::move(before_move)) {}

  // Later steps within the limits move nothing.
  void Reserve(const StepLimits& limits);
  // For a step's attention over the paged cache, of groups of at most `max_group` heads.
  FixedRuns Get(const AttentionArguments& arguments, int max_group, const DeviceMetadata& metadata,
                const PagedKeys& keys);

 private:
  DecodeWorkspace Parts(int64_t tiles, int64_t max_keys, int64_t num_heads, int64_t num_kv_heads,
                        int64_t head_dim);
  float* Kept();

  Stream& stream_;
  const int num_processors_;
  const std::function<void()> before_move_;
  DeviceMemory kept_;
  DecodeWorkspaceMemory parts_;
};

}  // namespace skein::cuda
