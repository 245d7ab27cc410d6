#include "core/finite_check.h"

#include <algorithm>
#include <cstring>

namespace skein {
namespace {

// Elements that are looked at together, without a branch in between.
constexpr int64_t kBlock = 4096;

// Of signed words, so that the baseline of x86-64 has an instruction for the greatest of them.
// Without the sign every number's bits are below those of infinity, and those of a NaN above.
template <typename Word, Word kMagnitude, Word kInfinity>
int64_t FirstAtLeast(const void* data, int64_t count) {
  const auto* from = static_cast<const char*>(data);
  const auto magnitude = [from](int64_t i) {
    Word word;
    std::memcpy(&word, from + i * static_cast<int64_t>(sizeof(Word)), sizeof(Word));
    return static_cast<Word>(word & kMagnitude);
  };
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t end = std::min(start + kBlock, count);
    Word greatest = 0;
#pragma omp simd reduction(max : greatest)
    for (int64_t i = start; i < end; ++i) greatest = std::max(greatest, magnitude(i));
    if (greatest < kInfinity) continue;
    for (int64_t i = start; i < end; ++i) {
      if (magnitude(i) >= kInfinity) return i;
    }
  }
  return count;
}

}  // namespace

int64_t FirstNonFinite(const void* data, DType type, int64_t count) {
  switch (type) {
    case DType::kFloat32:
      return FirstAtLeast<int32_t, 0x7fffffff, 0x7f800000>(data, count);
    case DType::kBFloat16:
      return FirstAtLeast<int16_t, 0x7fff, 0x7f80>(data, count);
    case DType::kFloat16:
      return FirstAtLeast<int16_t, 0x7fff, 0x7c00>(data, count);
    case DType::kFloat8E4M3:
      return FirstAtLeast<int8_t, 0x7f, 0x7f>(data, count);
    case DType::kInt32:
      return count;
  }
  return count;
}

}  // namespace skein
