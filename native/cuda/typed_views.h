// Matrices as kernels take them: pointers to a type that is checked.
#pragma once

#include <cuda_bf16.h>

#include "core/norm_weights.h"
#include "core/tensor.h"
#include "cuda/cuda_check.h"
#include "cuda/kernels/elementwise.h"

namespace skein::cuda {

inline const __nv_bfloat16* In(const Matrix& matrix) {
  SKEIN_CHECK(matrix.type == DType::kBFloat16, "expected bfloat16, got %s", Name(matrix.type));
  return matrix.As<const __nv_bfloat16>();
}
inline __nv_bfloat16* Out(const Matrix& matrix) { return const_cast<__nv_bfloat16*>(In(matrix)); }

inline const float* InFloat(const Matrix& matrix) {
  SKEIN_CHECK(matrix.type == DType::kFloat32, "expected float32, got %s", Name(matrix.type));
  return matrix.As<const float>();
}
inline float* OutFloat(const Matrix& matrix) { return const_cast<float*>(InFloat(matrix)); }

inline NormArguments Arguments(const NormWeights& norm) {
  return {norm.kind == NormKind::kLayer, norm.weight, norm.bias, norm.eps};
}
// Where a norm writes its rows; null: their reader finds float8.
inline __nv_bfloat16* NormedRows(const NormWeights& norm, const NormArguments& arguments,
                                 const Matrix& normed) {
  return norm.writes_rows || arguments.quantized.codes == nullptr ? Out(normed) : nullptr;
}

}  // namespace skein::cuda
