// Which products share an algorithm of a library: how their operands are aligned, and classes of
// rows.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/tensor.h"

namespace skein::cuda {

// Largest power of two up to 16 that divides the number of bytes; no algorithm asks for more.
inline uint32_t Alignment(uint64_t bytes) {
  const uint64_t bits = bytes | 16u;
  return static_cast<uint32_t>(bits & (~bits + 1));
}
inline uint32_t AlignmentOf(const Matrix& matrix) {
  return std::min(Alignment(reinterpret_cast<uint64_t>(matrix.data)),
                  Alignment(static_cast<uint64_t>(matrix.stride) * SizeOf(matrix.type)));
}

// Prompts have any number of rows, and each would be timed by itself: numbers that cut into the
// same count of tiles share an algorithm, and so do batches up to a power of two. Each class is its
// largest member.
inline int64_t RowClass(int64_t rows) {
  if (rows <= 64) return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  const int64_t step = rows <= 512 ? 64 : rows <= 2048 ? 128 : 512;
  return (rows + step - 1) / step * step;
}

}  // namespace skein::cuda
