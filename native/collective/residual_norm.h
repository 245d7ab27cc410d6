// What ends every row-parallel product, as one call:
//   residual += scale * (sum of `partial` over the ranks + bias)
//   normed = Norm(residual)            (when norm and normed are given)
#pragma once

#include "core/norm_weights.h"
#include "core/tensor.h"

namespace skein {

struct ResidualNorm {
  Matrix partial;                // [rows, cols] float32 or bfloat16, contiguous
  const float* bias = nullptr;   // [cols] or null
  const float* scale = nullptr;  // [cols] or null
  Matrix residual;               // [rows, cols] float32
  const NormWeights* norm = nullptr;
  const Matrix* normed = nullptr;  // [rows, cols] of the back end's activation type
};

}  // namespace skein
