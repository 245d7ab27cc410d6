// A KV cache in float8, on the host.
#pragma once

#include <vector>

#include "cuda/cuda_storage.h"
#include "cuda/device_copy.h"
#include "test/cuda/attention_sequences.h"

namespace skein {

template <typename T>
std::vector<T> FromDevice(const T* from, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  cuda::CopyAndWait(values.data(), from, values.size() * sizeof(T));
  return values;
}

// A cache's only layer, on the host.
struct Stored {
  Stored(const KvCache& cache, const AttentionCase& c)
      : num_kv_heads(c.num_kv_heads()), head_dim(c.head_dim) {
    const auto& paged = static_cast<const cuda::CudaKvCache&>(cache);
    const cuda::Float8Kv kv = paged.Float8(0);
    const int64_t rows = paged.num_blocks() * num_kv_heads * kBlockSize;
    codes[0] = FromDevice(kv.keys, rows * head_dim);
    codes[1] = FromDevice(kv.values, rows * head_dim);
    scales[0] = FromDevice(kv.key_scales, rows);
    scales[1] = FromDevice(kv.value_scales, rows);
  }
  // Of the row of KV head `kv_head` in slot `slot`.
  int64_t Row(int64_t slot, int64_t kv_head) const {
    return (slot / kBlockSize * num_kv_heads + kv_head) * kBlockSize + slot % kBlockSize;
  }
  const uint8_t* Codes(bool is_value, int64_t row) const {
    return codes[is_value ? 1 : 0].data() + row * head_dim;
  }
  float Scale(bool is_value, int64_t row) const {
    return scales[is_value ? 1 : 0][static_cast<size_t>(row)];
  }

  int64_t num_kv_heads, head_dim;
  std::vector<uint8_t> codes[2];
  std::vector<float> scales[2];
};

}  // namespace skein
