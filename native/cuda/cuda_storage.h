// What the CUDA back end hands out: plain tensors and the paged cache, in memory of its arenas.
#pragma once

#include <cuda_bf16.h>

#include "core/error.h"
#include "cuda/device_arena.h"
#include "ops/backend.h"

namespace skein::cuda {

// Lies in an arena that is given back as a whole.
class ArenaTensor final : public DeviceTensor {
 public:
  ArenaTensor(DeviceArena& arena, DType type, int64_t rows, int64_t cols)
      : view_(MakeMatrix(arena.Allocate(static_cast<size_t>(rows * cols) * SizeOf(type)), type,
                         rows, cols)) {}
  Matrix view() const override { return view_; }

 private:
  Matrix view_;
};

// Memory of tensors that live for a moment, one group after the other: handed out again once all
// of them have gone, given back at the end.
class StagingArena {
 public:
  std::unique_ptr<DeviceTensor> New(DType type, int64_t rows, int64_t cols) {
    return std::make_unique<Tensor>(*this, type, rows, cols);
  }
  void Reset() {
    SKEIN_CHECK(num_tensors_ == 0, "%d staged tensors live", num_tensors_);
    arena_.Reset();
  }

 private:
  class Tensor final : public DeviceTensor {
   public:
    Tensor(StagingArena& staging, DType type, int64_t rows, int64_t cols)
        : staging_(staging), tensor_(staging.arena_, type, rows, cols) {
      ++staging_.num_tensors_;
    }
    ~Tensor() override {
      if (--staging_.num_tensors_ == 0) staging_.arena_.Rewind();
    }
    Matrix view() const override { return tensor_.view(); }

   private:
    StagingArena& staging_;
    ArenaTensor tensor_;
  };

  DeviceArena arena_{"staging of weights"};
  int num_tensors_ = 0;
};

// Per layer: keys, then values, each [blocks, kv_heads, block_size, head_dim] bfloat16.
class CudaKvCache final : public KvCache {
 public:
  // Counts its memory in `held_bytes`, which outlives it.
  CudaKvCache(const KvCacheShape& shape, int64_t* held_bytes)
      : shape_(shape),
        bytes_(2 * static_cast<size_t>(shape.num_layers) * LayerElements() * 2),
        data_(arena_.New<__nv_bfloat16>(bytes_ / 2)),
        held_bytes_(held_bytes) {
    *held_bytes_ += static_cast<int64_t>(arena_.held_bytes());
  }
  ~CudaKvCache() override { *held_bytes_ -= static_cast<int64_t>(arena_.held_bytes()); }

  int64_t num_blocks() const override { return shape_.num_blocks; }
  size_t bytes() const override { return bytes_; }
  const KvCacheShape& shape() const { return shape_; }
  __nv_bfloat16* Keys(int64_t layer) const {
    return data_ + 2 * static_cast<size_t>(layer) * LayerElements();
  }
  __nv_bfloat16* Values(int64_t layer) const { return Keys(layer) + LayerElements(); }

 private:
  size_t LayerElements() const {
    return static_cast<size_t>(shape_.num_blocks * shape_.num_kv_heads * shape_.block_size *
                               shape_.head_dim);
  }
  const KvCacheShape shape_;
  DeviceArena arena_{"the KV cache"};
  const size_t bytes_;
  __nv_bfloat16* const data_;
  int64_t* const held_bytes_;
};

}  // namespace skein::cuda
