#include "cuda/decode_workspace.h"

#include "cuda/cuda_check.h"

namespace skein::cuda {

DecodeWorkspace DecodeWorkspaceMemory::Get(int64_t tiles, int max_runs, int64_t num_heads,
                                           int64_t num_kv_heads, int max_group, int head_dim,
                                           Stream& stream,
                                           const std::function<void()>& before_move) {
  const DecodeSize size =
      SizeOfDecodeWorkspace(tiles, max_runs, num_heads, num_kv_heads, max_group, head_dim);
  if (values_.bytes() < size.values_bytes || stats_.bytes() < size.stats_bytes ||
      counters_.bytes() < size.counters_bytes) {
    before_move();
    stream.Synchronize();
    const auto grow = [](DeviceMemory& memory, size_t bytes) {
      if (memory.bytes() >= bytes) return;
      memory = DeviceMemory();  // The old one first: both together need not fit.
      memory = DeviceMemory(bytes);
    };
    grow(values_, size.values_bytes);
    grow(stats_, size.stats_bytes);
    grow(counters_, size.counters_bytes);
    SKEIN_CUDA(cudaMemsetAsync(counters_.data(), 0, counters_.bytes(), stream.ForDriver()));
  }
  return {values_.As<float>(), stats_.As<float2>(), counters_.As<int32_t>(), max_runs};
}

}  // namespace skein::cuda
