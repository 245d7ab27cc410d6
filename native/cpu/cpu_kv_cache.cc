#include "cpu/cpu_kv_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/float8.h"

namespace skein::cpu {
namespace {

// Returns the scale; that of a head with something that is no number is none, so that attention
// shows it as it would without quantisation.
float QuantizeHead(const float* head, int64_t head_dim, uint8_t* codes) {
  const bool is_finite =
      std::all_of(head, head + head_dim, [](float x) { return std::isfinite(x); });
  if (!is_finite) {
    std::fill_n(codes, head_dim, FloatToFloat8(1.0f));
    return std::numeric_limits<float>::quiet_NaN();
  }
  return QuantizeToFloat8([&](int64_t i) { return head[i]; }, head_dim, 0, codes);
}

}  // namespace

CpuKvCache::CpuKvCache(const KvCacheShape& shape, DType type) : shape_(shape), type_(type) {
  SKEIN_CHECK(type == DType::kFloat32 || type == DType::kBFloat16 || type == DType::kFloat8E4M3,
              "KV cache of %s", Name(type));
  SKEIN_CHECK(shape.num_layers > 0 && shape.num_blocks > 0 && shape.block_size > 0 &&
                  shape.num_kv_heads > 0 && shape.head_dim > 0,
              "empty KV cache");
  if (shape.head_dim > kMaxHeadDim || shape.head_dim % 2 != 0) {
    throw Error("UNSUPPORTED_MODEL",
                Format("head_dim is %ld; the CPU back end takes even ones up to %ld",
                       static_cast<long>(shape.head_dim), static_cast<long>(kMaxHeadDim)));
  }
  if (type == DType::kFloat8E4M3 && shape.head_dim % 4 != 0) {
    throw Error("UNSUPPORTED_MODEL",
                Format("head_dim is %ld; a KV cache in float8 takes multiples of 4",
                       static_cast<long>(shape.head_dim)));
  }
  codes_bytes_ = static_cast<size_t>(shape.block_size * shape.head_dim) * SizeOf(type);
  head_bytes_ = static_cast<size_t>(shape.block_size * KvBytesPerHead(shape.head_dim, type));
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
  if (type_ == DType::kFloat8E4M3) {
    uint8_t codes[kMaxHeadDim];
    Scales(keys)[offset] = QuantizeHead(key, d, codes);
    for (int64_t i = 0; i < d; ++i) static_cast<uint8_t*>(keys)[i * size + offset] = codes[i];
    Scales(values)[offset] = QuantizeHead(value, d, static_cast<uint8_t*>(values) + offset * d);
    return;
  }
  uint16_t rounded[kMaxHeadDim];
  kernels.float_to_bf16(key, d, rounded);
  for (int64_t i = 0; i < d; ++i) static_cast<uint16_t*>(keys)[i * size + offset] = rounded[i];
  kernels.float_to_bf16(value, d, static_cast<uint16_t*>(values) + offset * d);
}

}  // namespace skein::cpu
