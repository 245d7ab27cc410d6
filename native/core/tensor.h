// A view of a row-major matrix in the memory of a back end. Owns nothing.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace skein {

struct Matrix {
  void* data = nullptr;
  DType type = DType::kFloat32;
  int64_t rows = 0;
  int64_t cols = 0;
  // Elements from one row to the next; at least cols.
  int64_t stride = 0;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data);
  }
  size_t RowBytes() const { return static_cast<size_t>(cols) * SizeOf(type); }
  Matrix Rows(int64_t start, int64_t count) const {
    return {static_cast<char*>(data) + static_cast<size_t>(start * stride) * SizeOf(type), type,
            count, cols, stride};
  }
  Matrix Cols(int64_t start, int64_t count) const {
    return {static_cast<char*>(data) + static_cast<size_t>(start) * SizeOf(type), type, rows, count,
            stride};
  }
};

inline Matrix MakeMatrix(void* data, DType type, int64_t rows, int64_t cols) {
  return {data, type, rows, cols, cols};
}

}  // namespace skein
