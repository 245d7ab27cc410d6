#include "core/dtype.h"

#include <cstring>

#include "core/error.h"
#include "core/float8.h"
#include "core/vector_clones.h"

namespace skein {

const char* Name(DType type) {
  switch (type) {
    case DType::kFloat32:
      return "float32";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat16:
      return "float16";
    case DType::kInt32:
      return "int32";
    case DType::kFloat8E4M3:
      return "float8_e4m3";
  }
  return "unknown";
}

namespace {

// The half's bits where a float has its own, times 2^112: exact, since the exponent only moves, and
// a subnormal becomes the normal number that it is. What is infinite or no number gets the exponent
// of such. Without branches: a loop that has one is not vectorised.
[[gnu::always_inline]] inline float Widen(uint16_t half) {
  constexpr float kMoveExponent = 0x1p112f;
  constexpr uint32_t kFirstInfinite = 0x7c00u << 13, kInfiniteExponent = 0x7f800000u;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(half & 0x7fffu) << 13;
  const auto number = std::bit_cast<uint32_t>(std::bit_cast<float>(rest) * kMoveExponent);
  const uint32_t if_infinite = 0u - static_cast<uint32_t>(rest >= kFirstInfinite);
  return std::bit_cast<float>(sign | number | (if_infinite & kInfiniteExponent));
}

SKEIN_VECTOR_CLONES void HalvesToFloats(const uint16_t* __restrict in, int64_t n,
                                        float* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = Widen(in[i]);
}

SKEIN_VECTOR_CLONES void HalvesToBFloat16(const uint16_t* __restrict in, int64_t n,
                                          uint16_t* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float value = Widen(in[i]);
    out[i] = BFloat16(value).bits;
  }
}

template <typename Load>
void ConvertWith(const Load& load, void* to, DType to_type, int64_t count) {
  if (to_type == DType::kFloat32) {
    auto* out = static_cast<float*>(to);
    for (int64_t i = 0; i < count; ++i) out[i] = load(i);
  } else {
    auto* out = static_cast<BFloat16*>(to);
    for (int64_t i = 0; i < count; ++i) out[i] = BFloat16(load(i));
  }
}

}  // namespace

float HalfToFloat(uint16_t half) { return Widen(half); }

void ConvertElements(const void* from, DType from_type, void* to, DType to_type, int64_t count) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(count) * SizeOf(from_type));
    return;
  }
  if (to_type == DType::kFloat8E4M3 && from_type == DType::kFloat32) {
    const auto* in = static_cast<const float*>(from);
    for (int64_t i = 0; i < count; ++i) static_cast<uint8_t*>(to)[i] = FloatToFloat8(in[i]);
    return;
  }
  SKEIN_CHECK(to_type == DType::kFloat32 || to_type == DType::kBFloat16, "to %s", Name(to_type));
  switch (from_type) {
    case DType::kFloat32: {
      const auto* in = static_cast<const float*>(from);
      return ConvertWith([in](int64_t i) { return in[i]; }, to, to_type, count);
    }
    case DType::kBFloat16: {
      const auto* in = static_cast<const BFloat16*>(from);
      return ConvertWith([in](int64_t i) { return static_cast<float>(in[i]); }, to, to_type, count);
    }
    case DType::kFloat16: {
      const auto* in = static_cast<const uint16_t*>(from);
      return to_type == DType::kFloat32 ? HalvesToFloats(in, count, static_cast<float*>(to))
                                        : HalvesToBFloat16(in, count, static_cast<uint16_t*>(to));
    }
    case DType::kFloat8E4M3: {
      const auto* in = static_cast<const uint8_t*>(from);
      return ConvertWith([in](int64_t i) { return Float8ToFloat(in[i]); }, to, to_type, count);
    }
    case DType::kInt32:
      break;
  }
  SKEIN_CHECK(false, "from %s to %s", Name(from_type), Name(to_type));
}

}  // namespace skein
