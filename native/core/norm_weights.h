// The parameters of a norm, in the memory of a back end. Owns nothing.
#pragma once

#include <cstdint>

namespace skein {

enum class NormKind : uint8_t { kRms, kLayer };

struct NormWeights {
  NormKind kind = NormKind::kRms;
  const float* weight = nullptr;  // [h], float32 in the back end's memory
  const float* bias = nullptr;    // [h]; LayerNorm only
  float eps = 0;
};

}  // namespace skein
