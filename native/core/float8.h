// float8 e4m3 (fn: four bits of exponent, three of mantissa, no infinities, largest value 448), and
// how rows are quantised to it: one scale a row, so that the largest magnitude becomes 448.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace skein {

inline constexpr float kFloat8Max = 448.0f;

// Rounds to nearest even; beyond 448 it becomes 448. NaN stays NaN.
inline uint8_t FloatToFloat8(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7fu;
  if (magnitude >= kFloat8Max) return sign | 0x7eu;
  // Below the least normal number, 2^-6, values are multiples of 2^-9.
  if (magnitude < 0x1p-6f) {
    return sign | static_cast<uint8_t>(std::nearbyint(magnitude * 0x1p9f));
  }
  uint32_t rounded = bits & 0x7fffffffu;
  rounded += 0x7ffffu + (rounded >> 20 & 1u);
  return sign | static_cast<uint8_t>((rounded >> 20) - ((127u - 7u) << 3));
}

inline float Float8ToFloat(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80u) << 24;
  const uint32_t exponent = code >> 3 & 15u, mantissa = code & 7u;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {
    return std::copysign(static_cast<float>(mantissa) * 0x1p-9f, std::bit_cast<float>(sign));
  }
  return std::bit_cast<float>(sign | (exponent + 120u) << 23 | mantissa << 20);
}

// The scale of a row whose largest magnitude is `largest`: a value is its float8 times this. Codes
// are those of values times its reciprocal.
inline float Float8ScaleOf(float largest) { return largest > 0.0f ? largest / kFloat8Max : 1.0f; }

// value(i), i below count, to float8 codes; returns their scale. scale 0: that of the largest.
template <typename Value>
float QuantizeToFloat8(const Value& value, int64_t count, float scale, uint8_t* codes) {
  if (scale == 0.0f) {
    float largest = 0.0f;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(value(i)));
    scale = Float8ScaleOf(largest);
  }
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < count; ++i) codes[i] = FloatToFloat8(value(i) * inverse);
  return scale;
}

}  // namespace skein
