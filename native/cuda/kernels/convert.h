// Weights from the type of their file to the type of a tensor.
#pragma once

#include "core/tensor.h"
#include "cuda/stream.h"

namespace skein::cuda {

// dest = source, both in device memory and of one shape: from float32, float16 or bfloat16 to
// float32 or bfloat16, rounded as ConvertElements rounds.
void ConvertRows(const Matrix& source, const Matrix& dest, Stream& stream);

}  // namespace skein::cuda
