// float8 on the CPU: the conversions against a search among all codes, the products against plain
// loops over weights and inputs that were quantised by that search.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/float8.h"
#include "cpu/cpu_backend.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

// By the definition: sign, four bits of exponent with bias 7, three of mantissa.
double ValueOf(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

// The nearest value; of two the one with an even mantissa.
double Nearest(double value) {
  int best = 0;
  for (int code = 0; code < 0x7f; ++code) {
    const double distance = std::fabs(std::fabs(value) - ValueOf(code));
    const double least = std::fabs(std::fabs(value) - ValueOf(best));
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return std::copysign(ValueOf(best), value);
}

TEST(Float8, CodesAreWhatTheyStandFor) {
  for (int code = 0; code < 256; ++code) {
    const float value = Float8ToFloat(static_cast<uint8_t>(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(Float8ToFloat(FloatToFloat8(value))));
      continue;
    }
    EXPECT_EQ(value, static_cast<float>(ValueOf(code))) << code;
    EXPECT_EQ(FloatToFloat8(value), code);
  }
}

TEST(Float8, RoundsToTheNearestAndSaturates) {
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const float value = random.Normal() * std::ldexp(1.0f, static_cast<int>(random.Below(22)) - 13);
    ASSERT_EQ(Float8ToFloat(FloatToFloat8(value)), static_cast<float>(Nearest(value))) << value;
  }
  // Half way between two values.
  for (int code = 0; code < 0x7e; ++code) {
    const auto middle = static_cast<float>((ValueOf(code) + ValueOf(code + 1)) / 2);
    ASSERT_EQ(FloatToFloat8(middle), code % 2 == 0 ? code : code + 1) << middle;
    ASSERT_EQ(FloatToFloat8(-middle), 0x80 | (code % 2 == 0 ? code : code + 1)) << middle;
  }
  for (const float value :
       {448.0f, 449.0f, 464.0f, 1e30f, std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(FloatToFloat8(value), 0x7e);
    EXPECT_EQ(FloatToFloat8(-value), 0xfe);
  }
}

// A row with a scale of its own, or a given one, as values times the scale.
void QuantizeRow(const HostMatrix& from, int64_t row, double scale, HostMatrix& to) {
  float largest = 0;
  for (int64_t c = 0; c < from.cols(); ++c) largest = std::max(largest, std::fabs(from.At(row, c)));
  const float own = scale != 0 ? static_cast<float>(scale) : largest > 0 ? largest / 448 : 1;
  for (int64_t c = 0; c < from.cols(); ++c) {
    to.Set(row, c, static_cast<float>(Nearest(from.At(row, c) * (1.0f / own)) * own));
  }
}

HostMatrix Quantized(const HostMatrix& from, double scale = 0) {
  HostMatrix to(from.rows(), from.cols());
  for (int64_t row = 0; row < from.rows(); ++row) QuantizeRow(from, row, scale, to);
  return to;
}

class CpuFloat8Test : public testing::TestWithParam<cpu::InstructionClass> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu::MakeCpuBackendOfClass(2, GetParam());
};

INSTANTIATE_TEST_SUITE_P(Classes, CpuFloat8Test,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

// float32 sums of values with scales on both sides, instead of exact ones.
constexpr double kTolerance = 5e-5;

TEST_P(CpuFloat8Test, ProductsOfQuantisedWeightsEqualPlainLoops) {
  Random random(2);
  for (const auto& [in, out] : {std::pair{1, 1}, {17, 54}, {97, 97}, {513, 33}, {896, 64}}) {
    for (const DType stored : {DType::kFloat32, DType::kBFloat16}) {
      const HostMatrix weight = RandomMatrix(random, out, in, 0.3f, 2, stored);
      std::vector<float> bias(static_cast<size_t>(out));
      for (float& b : bias) b = random.Normal();
      RawLinear raw;
      raw.in_features = in;
      raw.out_features = out;
      raw.weight = weight.view();
      raw.bias = MakeMatrix(bias.data(), DType::kFloat32, 1, out);
      raw.quantizes = true;
      for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
        const auto linear = backend_->PrepareLinear(raw, compute);
        for (const int64_t rows : {1, 5, 64, 300}) {
          // Rounded already, so that the compute type does not matter.
          HostMatrix x = RandomMatrix(random, rows, in);
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t c = 0; c < in; ++c) {
              x.Set(r, c, static_cast<float>(BFloat16(x.At(r, c) * static_cast<float>(r))));
            }
          }
          const Activation activation = rows % 2 == 0 ? Activation::kGeluErf : Activation::kNone;
          ExpectNear(ComputedLinear(*backend_, *linear, x, activation),
                     ReferenceLinear(Quantized(x), Quantized(weight), bias.data(), activation,
                                     DType::kFloat32),
                     kTolerance * (1 + static_cast<double>(rows) / 10), "quantised");
        }
      }
    }
  }
}

TEST_P(CpuFloat8Test, StoredWeightsAndScalesAreTakenAsTheyAre) {
  Random random(3);
  constexpr int64_t kIn = 130, kOut = 40, kRows = 9;
  std::vector<uint8_t> codes(kIn * kOut);
  for (uint8_t& code : codes)
    code = static_cast<uint8_t>(random.Below(0x7f) | random.Below(2) << 7);
  std::vector<float> scales(kOut);
  HostMatrix weight(kOut, kIn);
  for (int64_t o = 0; o < kOut; ++o) {
    scales[static_cast<size_t>(o)] = 0.001f * static_cast<float>(1 + o);
    for (int64_t i = 0; i < kIn; ++i) {
      weight.Set(o, i,
                 static_cast<float>(ValueOf(codes[static_cast<size_t>(o * kIn + i)])) *
                     scales[static_cast<size_t>(o)]);
    }
  }
  const HostMatrix x = RandomMatrix(random, kRows, kIn);
  for (const float input_scale : {0.0f, 0.004f}) {
    RawLinear raw;
    raw.in_features = kIn;
    raw.out_features = kOut;
    raw.weight = MakeMatrix(codes.data(), DType::kFloat8E4M3, kOut, kIn);
    raw.weight_scales = MakeMatrix(scales.data(), DType::kFloat32, 1, kOut);
    raw.input_scale = input_scale;
    const auto linear = backend_->PrepareLinear(raw, DType::kFloat32);
    // 0.004: what is beyond 1.8 is cut off.
    ExpectNear(ComputedLinear(*backend_, *linear, x, Activation::kNone),
               ReferenceLinear(Quantized(x, input_scale), weight, nullptr, Activation::kNone,
                               DType::kFloat32),
               1e-3, "stored");
  }
}

TEST_P(CpuFloat8Test, RowsDoNotDependOnTheirBatch) {
  Random random(4);
  const HostMatrix weight = RandomMatrix(random, 54, 97);
  RawLinear raw;
  raw.in_features = 97;
  raw.out_features = 54;
  raw.weight = weight.view();
  raw.quantizes = true;
  const auto linear = backend_->PrepareLinear(raw, DType::kBFloat16);
  const HostMatrix x = RandomMatrix(random, 40, 97);
  const HostMatrix all = ComputedLinear(*backend_, *linear, x, Activation::kNone);
  for (const int64_t batch : {1, 2, 7, 13}) {
    for (int64_t start = 0; start + batch <= 40; start += 3) {
      HostMatrix out = PoisonedMatrix(batch, 54);
      backend_->Linear(*linear, x.view().Rows(start, batch), Activation::kNone, out.view());
      for (int64_t r = 0; r < batch; ++r) {
        ASSERT_TRUE(SameBits(out.view(), r, all.view(), start + r));
      }
    }
  }
}

}  // namespace
}  // namespace skein::test
