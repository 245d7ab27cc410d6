// Memory for the partial results of decode attention, one for all layers. Laid out before the first
// step; grows only for a step beyond what was reserved.
#pragma once

#include <functional>

#include "cuda/device_memory.h"
#include "cuda/kernels/attention.h"
#include "cuda/stream.h"

namespace skein::cuda {

class DecodeWorkspaceMemory {
 public:
  // What one launch over `tiles` sequences needs. `before_move` runs before memory moves, which
  // recorded graphs would not survive.
  DecodeWorkspace Get(int64_t tiles, int max_runs, int64_t num_heads, int64_t num_kv_heads,
                      int max_group, int head_dim, Stream& stream,
                      const std::function<void()>& before_move);
  size_t bytes() const { return values_.bytes() + stats_.bytes() + counters_.bytes(); }

 private:
  DeviceMemory values_, stats_, counters_;
};

}  // namespace skein::cuda
