// Every NaN and infinity of every type is found where it stands, and no number is taken for one.
#include "core/finite_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace skein::test {
namespace {

TEST(FiniteCheck, AgreesWithEveryValueOfSixteenBits) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto word = static_cast<uint16_t>(bits);
    const bool is_half = std::isfinite(HalfToFloat(word));
    EXPECT_EQ(FirstNonFinite(&word, DType::kFloat16, 1), is_half ? 1 : 0) << bits;
    BFloat16 number;
    number.bits = word;
    const bool is_bfloat = std::isfinite(static_cast<float>(number));
    EXPECT_EQ(FirstNonFinite(&word, DType::kBFloat16, 1), is_bfloat ? 1 : 0) << bits;
  }
}

TEST(FiniteCheck, AgreesWithEveryValueOfEightBits) {
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const auto byte = static_cast<uint8_t>(bits);
    float value = 0;
    ConvertElements(&byte, DType::kFloat8E4M3, &value, DType::kFloat32, 1);
    EXPECT_EQ(FirstNonFinite(&byte, DType::kFloat8E4M3, 1), std::isfinite(value) ? 1 : 0) << bits;
  }
}

TEST(FiniteCheck, FindsTheFirstWhereverItStands) {
  const float odd[] = {NAN, -NAN, INFINITY, -INFINITY};
  for (const int64_t count : {1, 7, 4095, 4096, 4097, 9000}) {
    std::vector<float> values(static_cast<size_t>(count), -3.4e38f);
    EXPECT_EQ(FirstNonFinite(values.data(), DType::kFloat32, count), count);
    values.back() = INFINITY;
    EXPECT_EQ(FirstNonFinite(values.data(), DType::kFloat32, count), count - 1);
    for (const float value : odd) {
      values[static_cast<size_t>(count / 2)] = value;
      EXPECT_EQ(FirstNonFinite(values.data(), DType::kFloat32, count), count / 2);
    }
  }
  EXPECT_EQ(FirstNonFinite(nullptr, DType::kFloat32, 0), 0);
}

TEST(FiniteCheck, ReadsWhatIsNotAligned) {
  std::vector<char> bytes(41, 0);
  const uint16_t infinity = 0x7c00;
  std::memcpy(bytes.data() + 1 + 2 * 13, &infinity, 2);
  EXPECT_EQ(FirstNonFinite(bytes.data() + 1, DType::kFloat16, 20), 13);
}

TEST(FiniteCheck, TakesEveryInteger) {
  const int32_t words[] = {-1, INT32_MIN, 0x7f800000, 0x7fffffff};
  EXPECT_EQ(FirstNonFinite(words, DType::kInt32, 4), 4);
}

}  // namespace
}  // namespace skein::test
