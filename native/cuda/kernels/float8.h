// Rows of bfloat16 to float8 e4m3 with a scale each.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "cuda/packed_sizes.h"
#include "cuda/stream.h"

namespace skein::cuda {

// codes [rows, Float8Stride(cols)], zeros after the last column, of x [rows, cols]; scales [rows].
// scale 0: that of a row is its largest magnitude / 448, else `scale`. Nearest, ties to even;
// beyond 448 it is 448. As core/float8.h, to the bit.
void QuantizeRows(const __nv_bfloat16* x, int64_t x_stride, int64_t rows, int64_t cols, float scale,
                  uint8_t* codes, float* scales, Stream& stream);

}  // namespace skein::cuda
