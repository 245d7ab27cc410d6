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
  // False: the one reader of the outputs is a linear that reads them as float8 where the norm
  // leaves them so (PreparedLinear::ReadsFloat8). The outputs themselves may then stay unwritten.
  bool writes_rows = true;
};

}  // namespace skein
