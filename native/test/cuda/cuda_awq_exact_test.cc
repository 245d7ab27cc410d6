// Deterministic mode's two AWQ kernels, that for few rows and the exact wide one: a row's bits are
// the same by either, by every plan and tile, alone and among others; beside sums in double
// precision.
#include <algorithm>

#include "awq_weights.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/product_rules.h"
#include "cuda_twin.h"

namespace skein {
namespace {

// How a product is made.
struct Way {
  bool is_wide = false;
  int tile = -1;  // of the wide kernel
  bool swiglu = false, has_bias = false, is_float = false;
};

class CudaAwqExactTest : public CudaHopperTest {
 protected:
  void Make(int64_t in, int64_t out, int64_t offset, int64_t rows) {
    packed_ = std::make_unique<PackedAwq>(in, out, offset, generator_);
    ASSERT_TRUE(cuda::AwqHasExactWide(packed_->weights, device_));
    const std::vector<float> bias = Random(out, 0.5f);
    bias_ = cuda::DeviceMemory(bias.size() * sizeof(float));
    cuda::CopyAndWait(bias_.data(), bias.data(), bias_.bytes());
    x_values_ = Random(rows * in);
    x_ = std::make_unique<Twin>(MakeTwin(x_values_, rows, in, DType::kBFloat16));
    result_ = cuda::DeviceMemory(static_cast<size_t>(rows * out) * sizeof(float));
  }

  // Rows first .. first + rows - 1 of x; the bits of their outputs.
  std::vector<uint32_t> Run(const Way& way, int64_t first, int64_t rows) {
    const cuda::AwqWeights& w = packed_->weights;
    const int64_t width = way.swiglu ? w.out_features / 2 : w.out_features;
    const Matrix x = x_->cuda->view().Rows(first, rows);
    cuda::ProductOperands operands{};
    operands.x = x.As<__nv_bfloat16>();
    operands.x_stride = x.stride;
    operands.rows = rows;
    operands.bias = way.has_bias ? bias_.As<float>() : nullptr;
    operands.out = result_.data();
    operands.out_is_float = way.is_float;
    operands.out_stride = width;
    operands.swiglu = way.swiglu;
    const size_t bytes = static_cast<size_t>(rows * width) * (way.is_float ? 4 : 2);
    SKEIN_CUDA(cudaMemset(result_.data(), 0xff, bytes));
    Settle();
    if (way.is_wide) {
      const cuda::WidePlan plan = cuda::PlanAwqExactWide(w, rows, device_, way.tile);
      EXPECT_EQ(plan.chunks, cuda::AwqChunks(w));
      if (plan.chunks > 1) (plan.shares > plan.cut ? was_shared_ : was_whole_) = true;
      EXPECT_LE(cuda::WidePartialBytes(plan), cuda::WideMostPartialBytes(device_));
      const cuda::DeviceMemory partial = Poisoned(cuda::WidePartialBytes(plan));
      operands.partial = partial.As<float>();
      EXPECT_TRUE(cuda::AwqWideTakes(w, operands, device_));
      cuda::AwqExactWideProduct(w, operands, plan, Stream());
      cuda_->FinishStep();
    } else {
      const cuda::AwqPlan plan = cuda::PlanAwqDeterministic(w, rows, way.swiglu, device_);
      EXPECT_GT(plan.blocks, 0);
      if (plan.blocks == 0) return {};
      EXPECT_EQ(plan.slices * plan.chunks, cuda::AwqChunks(w));
      if (plan.slices > 1) was_sliced_ = true;
      if (plan.parts > 1) was_parted_ = true;
      const cuda::DeviceMemory partial = Poisoned(cuda::AwqPartialBytes(w, plan, rows));
      operands.partial = partial.As<float>();
      cuda::AwqProduct(w, operands, plan, Stream());
      cuda_->FinishStep();
    }
    std::vector<uint32_t> bits((bytes + 3) / 4);
    cuda::CopyAndWait(bits.data(), result_.data(), bytes);
    return bits;
  }

  // The same rows of what all rows gave.
  void ExpectSame(const Way& way, int64_t first, int64_t rows, const std::vector<uint32_t>& all) {
    const cuda::AwqWeights& w = packed_->weights;
    const auto bits = Run(way, first, rows);
    const int64_t width = way.swiglu ? w.out_features / 2 : w.out_features;
    const int64_t row_bytes = width * (way.is_float ? 4 : 2);
    ASSERT_EQ(
        std::memcmp(bits.data(), reinterpret_cast<const char*>(all.data()) + first * row_bytes,
                    static_cast<size_t>(rows * row_bytes)),
        0)
        << rows << " rows from " << first << ", wide " << way.is_wide << ", tile " << way.tile
        << ", " << w.in_features << " x " << w.out_features << ", swiglu " << way.swiglu
        << ", float " << way.is_float;
  }

  cuda::DeviceMemory Poisoned(size_t bytes) {
    cuda::DeviceMemory memory(bytes + 16);
    SKEIN_CUDA(cudaMemset(memory.data(), 0xff, memory.bytes()));
    Settle();
    return memory;
  }
  static cuda::Stream& Stream() { return *static_cast<cuda::Stream*>(cuda_->stream()); }

  std::unique_ptr<PackedAwq> packed_;
  cuda::DeviceMemory bias_, result_;
  std::vector<float> x_values_;
  std::unique_ptr<Twin> x_;
  bool was_shared_ = false, was_whole_ = false, was_sliced_ = false, was_parted_ = false;
};

// The 38 B model's weights at several world sizes, and slices that begin inside a group.
TEST_F(CudaAwqExactTest, ARowsBitsAreTheSameByBothKernelsAndAnyBatch) {
  struct Shape {
    int64_t in, out, offset;
  };
  const Shape shapes[] = {{5120, 7168, 0},   {5120, 5120, 0},  {5120, 27648, 0}, {27648, 5120, 0},
                          {2560, 5120, 0},   {13824, 5120, 0}, {5120, 1792, 0},  {5120, 13824, 0},
                          {6912, 5120, 0},   {640, 5120, 0},   {5120, 896, 0},   {3456, 1280, 24},
                          {1288, 5152, 104}, {200, 64, 56},    {5120, 55296, 0}};
  for (const auto& [in, out, offset] : shapes) {
    if (IsUnderChecker() && in * out > 6'000'000) continue;
    const int64_t most = out > 20'000 ? Times(300, 40) : Times(1024, 130);
    Make(in, out, offset, most);
    for (const bool swiglu : {false, true}) {
      if (swiglu && out % 32 != 0) continue;
      Way way{true, -1, swiglu, !swiglu || offset != 0, swiglu == (out % 64 == 0)};
      const std::vector<uint32_t> all = Run(way, 0, most);
      for (const int64_t rows :
           Values({1, 2, 8, 9, 16, 17, 63, 64, 65, 100, 192, 193, 300}, {1, 9, 17, 40})) {
        for (const int64_t first : {int64_t{0}, int64_t{13}}) {
          if (first + rows > most) continue;
          ExpectSame(way, first, rows, all);
          if (rows <= 16) {
            Way few = way;
            few.is_wide = false;
            ExpectSame(few, first, rows, all);
          }
          if (HasFailure()) return;
        }
      }
      for (int tile = 0; tile < cuda::kNumWideTiles; ++tile) {
        if (!cuda::WideTileIsExact(tile)) continue;
        way.tile = tile;
        ExpectSame(way, 3, 37, all);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_TRUE(IsUnderChecker() || (was_shared_ && was_whole_ && was_parted_ && was_sliced_));
}

// Exact weights, products and sums: what is left is the rounding of float32 sums.
TEST_F(CudaAwqExactTest, AgreesWithDoublePrecision) {
  constexpr int64_t kRows = 150;
  for (const auto& [in, out, offset] :
       {std::tuple<int64_t, int64_t, int64_t>{5120, 1040, 0}, {3408, 264, 24}, {200, 64, 56}}) {
    Make(in, out, offset, kRows);
    for (const bool is_wide : {false, true}) {
      const int64_t rows = is_wide ? kRows : 16;
      const std::vector<uint32_t> bits = Run({is_wide, -1, false, false, true}, 0, rows);
      double difference = 0, norm = 0;
      for (int64_t row = 0; row < rows; row += 7) {
        for (int64_t column = row % 5; column < out; column += 11) {
          double sum = 0;
          for (int64_t i = 0; i < in; ++i) {
            sum += packed_->Weight(i, column) *
                   static_cast<double>(x_values_[static_cast<size_t>(row * in + i)]);
          }
          float value;
          std::memcpy(&value, &bits[static_cast<size_t>(row * out + column)], sizeof(value));
          difference += std::pow(static_cast<double>(value) - sum, 2);
          norm += sum * sum;
        }
      }
      EXPECT_LT(std::sqrt(difference / norm), 2e-6) << in << " x " << out << ", wide " << is_wide;
    }
  }
}

// Sums that are added to what is there are those that are added to it later.
TEST_F(CudaAwqExactTest, AddsToTheResidual) {
  constexpr int64_t kRows = 140, kOut = 1056;
  Make(1280, kOut, 0, kRows);
  const std::vector<float> residual = Random(kRows * kOut, 3.0f);
  const std::vector<uint32_t> bits = Run({true, -1, false, false, true}, 0, kRows);
  cuda::CopyAndWait(result_.data(), residual.data(), residual.size() * sizeof(float));
  const cuda::WidePlan plan = cuda::PlanAwqExactWide(packed_->weights, kRows, device_);
  const cuda::DeviceMemory partial = Poisoned(cuda::WidePartialBytes(plan));
  cuda::ProductOperands operands{};
  operands.x = x_->cuda->view().As<__nv_bfloat16>();
  operands.x_stride = x_->cuda->view().stride;
  operands.rows = kRows;
  operands.out = result_.data();
  operands.out_is_float = operands.adds = true;
  operands.out_stride = kOut;
  operands.partial = partial.As<float>();
  cuda::AwqExactWideProduct(packed_->weights, operands, plan, Stream());
  cuda_->FinishStep();
  std::vector<float> added(residual.size());
  cuda::CopyAndWait(added.data(), result_.data(), added.size() * sizeof(float));
  for (size_t i = 0; i < added.size(); ++i) {
    float sum;
    std::memcpy(&sum, &bits[i], sizeof(sum));
    ASSERT_EQ(added[i], residual[i] + sum) << "at " << i;
  }
}

constexpr cuda::DeviceTraits kHopper{132, cuda::kWideSharedBytes, true};

cuda::AwqWeights ShapeOf(int64_t in, int64_t out) {
  cuda::AwqWeights weights{};
  weights.in_features = in;
  weights.out_features = out;
  weights.padded_out = (out + 31) / 32 * 32;
  weights.units = in / 128;
  weights.tables_per_unit = 1;
  return weights;
}

// A weight's chunks are its own, whatever device sums them; few enough that 16 rows have room.
TEST(AwqExactPlan, ChunksFollowTheWeightAndFit) {
  for (const int64_t in : {128, 640, 1280, 2560, 3456, 5120, 6912, 13824, 27648}) {
    for (const int64_t out : {64, 896, 1792, 3584, 5120, 7168, 13824, 27648, 55296}) {
      const cuda::AwqWeights weights = ShapeOf(in, out);
      const int chunks = cuda::AwqChunks(weights);
      EXPECT_GE(chunks, 1);
      EXPECT_LE(chunks, weights.units);
      for (const bool swiglu : {false, true}) {
        for (int64_t rows = 1; rows <= 16; ++rows) {
          const cuda::AwqPlan plan = cuda::PlanAwqDeterministic(weights, rows, swiglu, kHopper);
          EXPECT_GT(plan.blocks, 0) << rows << " rows, " << in << " x " << out;
          EXPECT_EQ(plan.slices * plan.chunks, chunks) << rows << " rows, " << in << " x " << out;
        }
      }
      for (const int64_t rows : {1, 17, 64, 100, 1000, 5000}) {
        const cuda::WidePlan plan = cuda::PlanAwqExactWide(weights, rows, kHopper);
        EXPECT_EQ(plan.chunks, chunks);
        EXPECT_LE(cuda::WidePartialBytes(plan), cuda::WideMostPartialBytes(kHopper));
      }
    }
  }
}

// What the fast mode takes it for: fewer partial sums than the wide kernel's.
TEST(AwqExactPlan, SmallWeightsHaveFewerPartialSums) {
  const auto choose = [](int64_t rows, int64_t out) {
    return cuda::ChooseProduct({WeightFormat::kAwq, false, false, rows, out},
                               [](cuda::ProductKernel) { return true; });
  };
  for (const auto& [in, out] :
       {std::pair<int64_t, int64_t>{5120, 7168}, {5120, 5120}, {27648, 5120}}) {
    const cuda::AwqWeights weights = ShapeOf(in, out);
    for (const int64_t rows : {17, 32, 64}) {
      EXPECT_EQ(choose(rows, out), cuda::ProductKernel::kExactWide);
      const cuda::WidePlan exact = cuda::PlanAwqExactWide(weights, rows, kHopper);
      const cuda::WidePlan wide = cuda::PlanAwqWide(weights, rows, kHopper);
      EXPECT_LT(cuda::WidePartialBytes(exact), cuda::WidePartialBytes(wide))
          << rows << " rows, " << in << " x " << out;
    }
    EXPECT_EQ(choose(16, out), cuda::ProductKernel::kFewRows);
    EXPECT_EQ(choose(65, out), cuda::ProductKernel::kWide);
  }
  EXPECT_EQ(choose(64, 55296), cuda::ProductKernel::kWide);
}

}  // namespace
}  // namespace skein
