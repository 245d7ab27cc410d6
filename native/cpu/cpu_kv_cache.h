// The paged KV cache in host memory. Which block is whose is the coordinator's business.
#pragma once

#include <cstdint>

#include "core/aligned_buffer.h"
#include "cpu/kernels.h"
#include "ops/backend.h"

namespace skein::cpu {

// Keys and values of one block and KV head lie together:
//   keys   [layer][block][kv head][head_dim][block_size]   positions adjacent: a vector holds one
//                                                          dimension of many keys
//   values [layer][block][kv head][block_size][head_dim]
// In float8 each is followed by the scales of its tokens, float32 [block_size].
class CpuKvCache final : public KvCache {
 public:
  // type is float32, bfloat16 or float8. Pages are taken from the system as blocks are first
  // written.
  CpuKvCache(const KvCacheShape& shape, DType type);

  int64_t num_blocks() const override { return shape_.num_blocks; }
  size_t bytes() const override { return keys_.bytes() + values_.bytes(); }

  const KvCacheShape& shape() const { return shape_; }
  DType type() const { return type_; }
  void* Keys(int64_t layer, int64_t block, int64_t kv_head) const {
    return At(keys_, layer, block, kv_head);
  }
  void* Values(int64_t layer, int64_t block, int64_t kv_head) const {
    return At(values_, layer, block, kv_head);
  }
  // Float8: of the tokens of a block's keys or values for one KV head.
  float* Scales(void* head) const {
    return reinterpret_cast<float*>(static_cast<char*>(head) + codes_bytes_);
  }
  // Keys and values [head_dim] of one token and KV head into `slot` (block * block_size + offset),
  // rounded to the type.
  void Store(const KernelTable& kernels, int64_t layer, int64_t kv_head, int64_t slot,
             const float* key, const float* value) const;

 private:
  void* At(const AlignedBuffer& buffer, int64_t layer, int64_t block, int64_t kv_head) const {
    const int64_t index = (layer * shape_.num_blocks + block) * shape_.num_kv_heads + kv_head;
    return buffer.As<char>() + static_cast<size_t>(index) * head_bytes_;
  }

  KvCacheShape shape_;
  DType type_;
  size_t codes_bytes_;  // of one block and KV head
  size_t head_bytes_;   // with the scales
  AlignedBuffer keys_;
  AlignedBuffer values_;
};

}  // namespace skein::cpu
