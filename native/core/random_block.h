// Seeded random values for weights of benchmarks: what an element is depends on a key and its place
// in the whole tensor alone, so that every cut of the tensor and every back end sees the same
// values. Knows no model.
#pragma once

#include <cstdint>

#include "core/tensor.h"

#ifdef __CUDACC__
#define SKEIN_HOST_DEVICE __host__ __device__
#else
#define SKEIN_HOST_DEVICE
#endif

namespace skein {

struct RandomBlock {
  // kUniform: within spread of centre, rounded to the tensor's type. kWords: 32 random bits.
  // kZeroPoints: 4-bit eights.
  enum class Kind : uint8_t { kUniform, kWords, kZeroPoints };

  Kind kind = Kind::kUniform;
  uint64_t key = 0;  // of the whole tensor
  float centre = 0, spread = 0;
  // Element (i, j) of the block is element (first_row + i, first_col + j) of the whole tensor, and
  // lies at (dest_row + i, dest_col + j).
  int64_t first_row = 0, first_col = 0, rows = 0, cols = 0, dest_row = 0, dest_col = 0;
};

// SplitMix64's finaliser: a well mixed 64-bit hash of a counter.
SKEIN_HOST_DEVICE inline uint64_t MixBits(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

inline constexpr uint32_t kZeroPointWord = 0x88888888u;

// Bits of element `col` of the row with this key (RowKey).
SKEIN_HOST_DEVICE inline uint64_t RandomBits(uint64_t row_key, int64_t col) {
  return MixBits(row_key + static_cast<uint64_t>(col));
}
SKEIN_HOST_DEVICE inline uint64_t RowKey(uint64_t key, int64_t row) {
  return key ^ MixBits(static_cast<uint64_t>(row));
}
// In [-1, 1), from 24 random bits: exact in float32.
SKEIN_HOST_DEVICE inline float UnitOf(uint64_t bits) {
  return static_cast<float>(bits >> 40) * 0x1p-23f - 1.0f;
}

}  // namespace skein
