// What attention reads of a layer's KV cache in a step: where it lies, and the step's block tables.
#pragma once

#include "cuda/cuda_storage.h"
#include "cuda/kernels/attention.h"
#include "cuda/step_metadata.h"

namespace skein::cuda {

// Of a cache in bfloat16.
inline PagedKeys KeysOf(const CudaKvCache& cache, int64_t layer, const DeviceMetadata& step) {
  const KvCacheShape& shape = cache.shape();
  return {cache.Keys(layer),
          cache.Values(layer),
          step.block_tables(),
          step.max_blocks(),
          static_cast<int32_t>(shape.block_size),
          static_cast<int32_t>(shape.num_kv_heads),
          static_cast<int32_t>(shape.num_blocks)};
}

// Of one in float8.
inline PagedFloat8Keys Float8KeysOf(const CudaKvCache& cache, int64_t layer,
                                    const DeviceMetadata& step) {
  return {cache.Float8(layer), step.block_tables(), step.max_blocks(),
          static_cast<int32_t>(cache.shape().block_size),
          static_cast<int32_t>(cache.shape().num_kv_heads)};
}

}  // namespace skein::cuda
