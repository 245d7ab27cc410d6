// The products of the CPU back end against plain loops, and the numeric contract: a row's bits
// depend on the row alone.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cpu/cpu_backend.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

using cpu::InstructionClass;

struct Shape {
  int64_t in, out;
};
constexpr Shape kShapes[] = {{1, 1},    {7, 12},   {12, 7},   {17, 54},  {54, 17},
                             {97, 97},  {60, 80},  {80, 160}, {160, 60}, {257, 129},
                             {513, 33}, {896, 64}, {1030, 40}};
constexpr int64_t kRowCounts[] = {1, 2, 3, 5, 6, 7, 12, 13, 25, 64};
// Sums of about a thousand products of standard normal numbers in float32.
constexpr double kTolerance = 2e-5;

class CpuLinearTest : public testing::TestWithParam<InstructionClass> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu::MakeCpuBackendOfClass(2, GetParam());

  // Rows alone, and at every position of batches of 2 .. 64, must have the bits that they have in
  // `x` as a whole.
  void ExpectRowsIndependent(const PreparedLinear& linear, Random& random) {
    constexpr int64_t kRows = 64;
    const HostMatrix x = RandomMatrix(random, kRows, linear.in_features(), 1, 5);
    const HostMatrix all = ComputedLinear(*backend_, linear, x, Activation::kNone);
    for (const int64_t batch : {1, 2, 3, 4, 5, 8, 11, 12, 13, 24, 31, 63}) {
      for (int64_t start = 0; start + batch <= kRows; start += batch == 1 ? 1 : 7) {
        HostMatrix out = PoisonedMatrix(batch, linear.out_features());
        backend_->Linear(linear, x.view().Rows(start, batch), Activation::kNone, out.view());
        for (int64_t r = 0; r < batch; ++r) {
          ASSERT_TRUE(SameBits(out.view(), r, all.view(), start + r))
              << "row " << start + r << " alone in a batch of " << batch << ", position " << r
              << ", in " << linear.in_features() << ", out " << linear.out_features();
        }
      }
    }
  }
};

RawLinear DenseLinear(const HostMatrix& weight, std::vector<float>* bias) {
  RawLinear raw;
  raw.in_features = weight.cols();
  raw.out_features = weight.rows();
  raw.weight = weight.view();
  if (bias != nullptr) {
    raw.bias = MakeMatrix(bias->data(), DType::kFloat32, 1, weight.rows());
  }
  return raw;
}

TEST_P(CpuLinearTest, DenseProductsEqualPlainLoops) {
  Random random(1);
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    for (const DType stored : {DType::kFloat32, DType::kBFloat16}) {
      for (const Shape& shape : kShapes) {
        HostMatrix weight = RandomMatrix(random, shape.out, shape.in, 0.3f, 2, stored);
        std::vector<float> bias(static_cast<size_t>(shape.out));
        for (float& b : bias) b = random.Normal();
        const auto linear = backend_->PrepareLinear(DenseLinear(weight, &bias), compute);
        // What the weights are once they have been rounded to the compute type.
        HostMatrix rounded(shape.out, shape.in, 0, compute);
        for (int64_t r = 0; r < shape.out; ++r) {
          for (int64_t c = 0; c < shape.in; ++c) rounded.Set(r, c, weight.At(r, c));
        }
        for (const int64_t rows : kRowCounts) {
          const HostMatrix x = RandomMatrix(random, rows, shape.in, 1, 1);
          const Activation activation = rows % 2 == 0 ? Activation::kGeluErf : Activation::kNone;
          ExpectNear(ComputedLinear(*backend_, *linear, x, activation),
                     ReferenceLinear(x, rounded, bias.data(), activation, compute), kTolerance,
                     std::string(Name(compute)) + " " + std::to_string(rows) + " x " +
                         std::to_string(shape.in) + " x " + std::to_string(shape.out));
        }
      }
    }
  }
}

TEST_P(CpuLinearTest, AwqProductsEqualDequantisedWeights) {
  Random random(2);
  struct AwqShape {
    int64_t in, out, group_size, group_offset;
  };
  constexpr AwqShape kAwqShapes[] = {{128, 64, 128, 0}, {256, 8, 128, 0},   {72, 40, 32, 0},
                                     {60, 24, 16, 5},   {7, 16, 64, 60},    {300, 136, 128, 100},
                                     {97, 56, 32, 31},  {1024, 32, 512, 0}, {20, 8, 20, 13}};
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    for (const AwqShape& shape : kAwqShapes) {
      AwqMatrix awq = RandomAwq(random, shape.in, shape.out, shape.group_size, shape.group_offset);
      const auto linear = backend_->PrepareLinear(awq.raw, compute);
      for (const int64_t rows : kRowCounts) {
        const HostMatrix x = RandomMatrix(random, rows, shape.in);
        ExpectNear(ComputedLinear(*backend_, *linear, x, Activation::kNone),
                   ReferenceLinear(x, awq.dequantised, nullptr, Activation::kNone, compute),
                   kTolerance,
                   std::string("AWQ ") + Name(compute) + " " + std::to_string(rows) + " x " +
                       std::to_string(shape.in) + " x " + std::to_string(shape.out));
      }
    }
  }
}

TEST_P(CpuLinearTest, RowsDoNotDependOnTheirBatch) {
  Random random(3);
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    for (const Shape& shape : {Shape{97, 54}, Shape{896, 160}, Shape{1030, 97}}) {
      const HostMatrix weight = RandomMatrix(random, shape.out, shape.in);
      const auto linear = backend_->PrepareLinear(DenseLinear(weight, nullptr), compute);
      ExpectRowsIndependent(*linear, random);
    }
    AwqMatrix awq = RandomAwq(random, 300, 136, 128, 100);
    const auto linear = backend_->PrepareLinear(awq.raw, compute);
    ExpectRowsIndependent(*linear, random);
  }
}

TEST_P(CpuLinearTest, RowsDoNotDependOnThePass) {
  // More rows than are packed at a time, and so wide that they are multiplied slice by slice.
  constexpr int64_t kIn = 2100, kOut = 70;
  Random random(4);
  const HostMatrix weight = RandomMatrix(random, kOut, kIn);
  AwqMatrix awq = RandomAwq(random, kIn, 72, 128, 0);
  const HostMatrix x = RandomMatrix(random, 600, kIn);
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const RawLinear& raw : {DenseLinear(weight, nullptr), awq.raw}) {
      const auto linear = backend_->PrepareLinear(raw, type);
      const HostMatrix all = ComputedLinear(*backend_, *linear, x, Activation::kGeluErf);
      for (const int64_t row : {0, 255, 256, 511, 512, 599}) {
        HostMatrix alone = PoisonedMatrix(1, raw.out_features);
        backend_->Linear(*linear, x.view().Rows(row, 1), Activation::kGeluErf, alone.view());
        EXPECT_TRUE(SameBits(alone.view(), 0, all.view(), row)) << "row " << row;
      }
    }
  }
}

TEST_P(CpuLinearTest, BitsDoNotDependOnTheThreads) {
  Random random(5);
  const HostMatrix weight = RandomMatrix(random, 333, 512);
  AwqMatrix awq = RandomAwq(random, 512, 328, 128, 0);
  const HostMatrix x = RandomMatrix(random, 37, 512);
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    std::vector<HostMatrix> dense, quantised;
    for (const int threads : {1, 2, 3}) {
      backend_ = cpu::MakeCpuBackendOfClass(threads, GetParam());
      dense.push_back(
          ComputedLinear(*backend_, *backend_->PrepareLinear(DenseLinear(weight, nullptr), compute),
                         x, Activation::kGeluErf));
      quantised.push_back(ComputedLinear(*backend_, *backend_->PrepareLinear(awq.raw, compute), x,
                                         Activation::kNone));
    }
    for (int64_t r = 0; r < x.rows(); ++r) {
      for (size_t i = 1; i < dense.size(); ++i) {
        ASSERT_TRUE(SameBits(dense[0].view(), r, dense[i].view(), r)) << "row " << r;
        ASSERT_TRUE(SameBits(quantised[0].view(), r, quantised[i].view(), r)) << "row " << r;
      }
    }
  }
}

TEST_P(CpuLinearTest, WeightBytesAreThePackedOnes) {
  Random random(6);
  const HostMatrix weight = RandomMatrix(random, 640, 512);
  std::vector<float> bias(640, 0.5f);
  EXPECT_EQ(backend_->PrepareLinear(DenseLinear(weight, &bias), DType::kFloat32)->weight_bytes(),
            640u * 512 * 4 + 640 * 4);
  EXPECT_EQ(backend_->PrepareLinear(DenseLinear(weight, nullptr), DType::kBFloat16)->weight_bytes(),
            640u * 512 * 2);
  AwqMatrix awq = RandomAwq(random, 512, 640, 128, 0);
  // Words, one byte per zero point, scales as stored.
  EXPECT_EQ(backend_->PrepareLinear(awq.raw, DType::kBFloat16)->weight_bytes(),
            640u * 512 / 2 + 4 * 640 + 4 * 640 * 2);
}

TEST_P(CpuLinearTest, ExtremeInputsStayWhatTheyAre) {
  Random random(7);
  const HostMatrix weight = RandomMatrix(random, 40, 33);
  for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
    const auto linear = backend_->PrepareLinear(DenseLinear(weight, nullptr), compute);
    HostMatrix x = RandomMatrix(random, 3, 33);
    x.Set(1, 32, std::numeric_limits<float>::quiet_NaN());
    x.Set(2, 0, std::numeric_limits<float>::infinity());
    const HostMatrix out = ComputedLinear(*backend_, *linear, x, Activation::kNone);
    for (int64_t c = 0; c < 40; ++c) {
      EXPECT_TRUE(std::isfinite(out.At(0, c)));
      EXPECT_TRUE(std::isnan(out.At(1, c)));
      EXPECT_TRUE(std::isinf(out.At(2, c)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, CpuLinearTest,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

}  // namespace
}  // namespace skein::test
