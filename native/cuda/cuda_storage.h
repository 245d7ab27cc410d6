// What the CUDA back end hands out: plain tensors and the paged cache, in memory of its arenas.
#pragma once

#include <cuda_bf16.h>

#include "core/error.h"
#include "cuda/device_arena.h"
#include "cuda/kernels/kv_float8.h"
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

// In bfloat16, per layer: keys, then values, each [blocks, kv_heads, block_size, head_dim]. In
// float8 codes in that order, and behind those of all layers their scales, per layer: of keys, then
// of values, each [blocks, kv_heads, block_size]; so that all begin where they are read in pieces
// of 16 and 4 bytes, however many blocks there are.
class CudaKvCache final : public KvCache {
 public:
  // Counts its memory in `held_bytes`, which outlives it.
  CudaKvCache(const KvCacheShape& shape, DType type, int64_t* held_bytes)
      : shape_(shape),
        type_(CheckedType(shape, type)),
        bytes_(2 * static_cast<size_t>(shape.num_layers) * LayerRows() *
               static_cast<size_t>(KvBytesPerHead(shape.head_dim, type))),
        data_(arena_.New<uint8_t>(bytes_)),
        held_bytes_(held_bytes) {
    *held_bytes_ += static_cast<int64_t>(arena_.held_bytes());
  }
  ~CudaKvCache() override { *held_bytes_ -= static_cast<int64_t>(arena_.held_bytes()); }

  int64_t num_blocks() const override { return shape_.num_blocks; }
  size_t bytes() const override { return bytes_; }
  const KvCacheShape& shape() const { return shape_; }
  bool is_float8() const { return type_ == DType::kFloat8E4M3; }
  void* data() const { return data_; }
  __nv_bfloat16* Keys(int64_t layer) const { return Bfloat16(2 * layer); }
  __nv_bfloat16* Values(int64_t layer) const { return Bfloat16(2 * layer + 1); }
  Float8Kv Float8(int64_t layer) const {
    SKEIN_CHECK(is_float8(), "KV cache of %s", Name(type_));
    const size_t rows = LayerRows(), codes = rows * static_cast<size_t>(shape_.head_dim);
    const auto first = 2 * static_cast<size_t>(layer);
    auto* const scales =
        reinterpret_cast<float*>(data_ + 2 * static_cast<size_t>(shape_.num_layers) * codes);
    return {data_ + first * codes, data_ + (first + 1) * codes, scales + first * rows,
            scales + (first + 1) * rows};
  }

 private:
  static DType CheckedType(const KvCacheShape& shape, DType type) {
    SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat8E4M3, "KV cache of %s",
                Name(type));
    if (type == DType::kFloat8E4M3 && (shape.head_dim % 4 != 0 || shape.head_dim > 128)) {
      throw Error("UNSUPPORTED_MODEL",
                  Format("head_dim is %ld; a KV cache in float8 takes multiples of 4 up to 128",
                         static_cast<long>(shape.head_dim)));
    }
    return type;
  }
  // Of keys, or of values: one a token and KV head.
  size_t LayerRows() const {
    return static_cast<size_t>(shape_.num_blocks * shape_.num_kv_heads * shape_.block_size);
  }
  __nv_bfloat16* Bfloat16(int64_t index) const {
    SKEIN_CHECK(!is_float8(), "KV cache of %s", Name(type_));
    return reinterpret_cast<__nv_bfloat16*>(data_) +
           static_cast<size_t>(index) * LayerRows() * static_cast<size_t>(shape_.head_dim);
  }
  const KvCacheShape shape_;
  const DType type_;
  DeviceArena arena_{"the KV cache"};
  const size_t bytes_;
  uint8_t* const data_;
  int64_t* const held_bytes_;
};

}  // namespace skein::cuda
