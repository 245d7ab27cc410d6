#include "core/dtype.h"

#include <cstring>

#include "core/error.h"
#include "core/float8.h"

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

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  // Subnormal: shift the leading one up to where a normal number has its hidden bit.
  uint32_t shift = 0;
  while ((mantissa & 0x400u) == 0) {
    mantissa <<= 1;
    ++shift;
  }
  return std::bit_cast<float>(sign | ((113u - shift) << 23) | ((mantissa & 0x3ffu) << 13));
}

namespace {

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
      return ConvertWith([in](int64_t i) { return HalfToFloat(in[i]); }, to, to_type, count);
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
