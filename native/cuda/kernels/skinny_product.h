// Products of few rows with a dense weight, bfloat16 or float8: bound by reading the weight once.
#pragma once

#include "core/tensor.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Rows that the kernels take at most: one tile of the tensor cores.
inline constexpr int64_t kSkinnyMaxRows = 8;

// Whether the current device has the shared memory that the kernels take (sm_86 and sm_89 do not).
bool HasSkinnyProduct();
// Whether the kernels take these operands: few rows, bfloat16, rows that begin at multiples of 16
// bytes, k a multiple of 8.
bool IsSkinny(const Matrix& x, const Matrix& weight);

// out [rows, m] = x [rows, k] weight^T + bias; weight [m, k], out bfloat16 or float32, bias [m] in
// out's type, or null. Sums have a fixed order.
void SkinnyProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
                   Stream& stream);
// out [rows, m] bfloat16 = silu(x gate^T) * (x up^T); weight [2 m, k] is gate above up.
void SkinnySwiGlu(const Matrix& x, const Matrix& weight, const Matrix& out, Stream& stream);

// The same of float8, on Hopper: x [rows, k / 2] and weight [m, k / 2] are pairs of codes, as
// ProductOperands has them, k a multiple of 16; x_scales [rows], weight_scales [m], or [2 m].
void SkinnyFloat8(const Matrix& x, const float* x_scales, const Matrix& weight,
                  const float* weight_scales, const void* bias, const Matrix& out, Stream& stream);
void SkinnyFloat8SwiGlu(const Matrix& x, const float* x_scales, const Matrix& weight,
                        const float* weight_scales, const Matrix& out, Stream& stream);

}  // namespace skein::cuda
