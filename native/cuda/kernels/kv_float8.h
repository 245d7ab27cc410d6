// The KV cache in float8: where a layer's lies, and the launcher that stores to it.
#pragma once

#include <cstdint>

#include "cuda/kernels/elementwise.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Keys and values as e4m3 codes, [blocks, kv_heads, block_size, head_dim] each, and a scale for
// each row of them: what was stored is about code * scale.
struct Float8Kv {
  uint8_t* keys;
  uint8_t* values;
  float* key_scales;
  float* value_scales;
};

// As RotaryStoreKv, to `kv` instead of the arguments' keys and values. A row's scale is that of its
// own largest magnitude, of rotated keys before they would be rounded to bfloat16; one with
// something that is no number has none, so that attention shows it. head_dim: a multiple of 4, at
// most 128.
void RotaryStoreFloat8Kv(const RotaryArguments& arguments, const Float8Kv& kv, int64_t rows,
                         Stream& stream);

}  // namespace skein::cuda
