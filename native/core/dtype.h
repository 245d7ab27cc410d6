// Element types and their conversions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace skein {

enum class DType : uint8_t {
  kFloat32 = 1,
  kBFloat16 = 2,
  kFloat16 = 3,
  kInt32 = 4,
  kFloat8E4M3 = 5,  // without infinities; of weights beside their scales only
};

constexpr size_t SizeOf(DType type) {
  if (type == DType::kFloat8E4M3) return 1;
  return type == DType::kBFloat16 || type == DType::kFloat16 ? 2 : 4;
}

const char* Name(DType type);

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  // Rounds to nearest even; NaN stays NaN.
  explicit BFloat16(float value) {
    const auto u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    // Both are computed and one is taken: loops of it are vectorised.
    bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};
static_assert(sizeof(BFloat16) == 2);

// IEEE half to float, subnormals, infinities and NaN included.
float HalfToFloat(uint16_t half);
// `count` elements from one type to another: from any floating type to float32, or
// bfloat16, from float32 to float8, else to the same type only.
void ConvertElements(const void* from, DType from_type, void* to, DType to_type, int64_t count);

}  // namespace skein
