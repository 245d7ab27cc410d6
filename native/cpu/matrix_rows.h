// Access to the rows of float32 matrices, and the check that a matrix is what an op expects.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/tensor.h"

namespace skein::cpu {

inline float* Row(const Matrix& m, int64_t row) { return m.As<float>() + row * m.stride; }

inline void CheckFloat(const Matrix& m, int64_t rows, int64_t cols, const char* name) {
  SKEIN_CHECK(m.type == DType::kFloat32 && m.rows == rows && m.cols == cols,
              "%s: %s [%ld, %ld], expected float32 [%ld, %ld]", name, Name(m.type),
              static_cast<long>(m.rows), static_cast<long>(m.cols), static_cast<long>(rows),
              static_cast<long>(cols));
}

}  // namespace skein::cpu
