#include "cpu/cpu_kv_cache.h"

#include <cstring>

#include "core/error.h"

namespace skein::cpu {

CpuKvCache::CpuKvCache(const KvCacheShape& shape, DType type) : shape_(shape), type_(type) {
  SKEIN_CHECK(type == DType::kFloat32 || type == DType::kBFloat16, "KV cache of %s", Name(type));
  SKEIN_CHECK(shape.num_layers > 0 && shape.num_blocks > 0 && shape.block_size > 0 &&
                  shape.num_kv_heads > 0 && shape.head_dim > 0,
              "empty KV cache");
  if (shape.head_dim > kMaxHeadDim || shape.head_dim % 2 != 0) {
    throw Error("UNSUPPORTED_MODEL",
                Format("head_dim is %ld; the CPU back end takes even ones up to %ld",
                       static_cast<long>(shape.head_dim), static_cast<long>(kMaxHeadDim)));
  }
  head_bytes_ = static_cast<size_t>(shape.block_size * shape.head_dim) * SizeOf(type);
  const size_t bytes =
      static_cast<size_t>(shape.num_layers * shape.num_blocks * shape.num_kv_heads) * head_bytes_;
  keys_ = AlignedBuffer(bytes);
  values_ = AlignedBuffer(bytes);
}

void CpuKvCache::Store(const KernelTable& kernels, int64_t layer, int64_t kv_head, int64_t slot,
                       const float* key, const float* value) const {
  const int64_t d = shape_.head_dim;
  const int64_t size = shape_.block_size;
  const int64_t offset = slot % size;
  void* keys = Keys(layer, slot / size, kv_head);
  void* values = Values(layer, slot / size, kv_head);
  if (type_ == DType::kFloat32) {
    for (int64_t i = 0; i < d; ++i) static_cast<float*>(keys)[i * size + offset] = key[i];
    std::memcpy(static_cast<float*>(values) + offset * d, value,
                static_cast<size_t>(d) * sizeof(float));
    return;
  }
  uint16_t rounded[kMaxHeadDim];
  kernels.float_to_bf16(key, d, rounded);
  for (int64_t i = 0; i < d; ++i) static_cast<uint16_t*>(keys)[i * size + offset] = rounded[i];
  kernels.float_to_bf16(value, d, static_cast<uint16_t*>(values) + offset * d);
}

}  // namespace skein::cpu
