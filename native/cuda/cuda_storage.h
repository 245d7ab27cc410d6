// What the CUDA back end hands out: plain tensors and the paged cache, in device memory.
#pragma once

#include <cuda_bf16.h>

#include "cuda/device_memory.h"
#include "ops/backend.h"

namespace skein::cuda {

class CudaTensor final : public DeviceTensor {
 public:
  CudaTensor(DType type, int64_t rows, int64_t cols)
      : memory_(static_cast<size_t>(rows * cols) * SizeOf(type)),
        view_(MakeMatrix(memory_.data(), type, rows, cols)) {}
  Matrix view() const override { return view_; }

 private:
  DeviceMemory memory_;
  Matrix view_;
};

// Per layer: keys, then values, each [blocks, kv_heads, block_size, head_dim] bfloat16.
class CudaKvCache final : public KvCache {
 public:
  explicit CudaKvCache(const KvCacheShape& shape)
      : shape_(shape), memory_(2 * static_cast<size_t>(shape.num_layers) * LayerElements() * 2) {}
  int64_t num_blocks() const override { return shape_.num_blocks; }
  size_t bytes() const override { return memory_.bytes(); }
  const KvCacheShape& shape() const { return shape_; }
  __nv_bfloat16* Keys(int64_t layer) const {
    return memory_.As<__nv_bfloat16>() + 2 * static_cast<size_t>(layer) * LayerElements();
  }
  __nv_bfloat16* Values(int64_t layer) const { return Keys(layer) + LayerElements(); }

 private:
  size_t LayerElements() const {
    return static_cast<size_t>(shape_.num_blocks * shape_.num_kv_heads * shape_.block_size *
                               shape_.head_dim);
  }
  KvCacheShape shape_;
  DeviceMemory memory_;
};

}  // namespace skein::cuda
