// float8 linears beside the CPU's, which quantises weights and rows to the same bits: few rows and
// many, gate and up in one kernel, sums added to the residual, static scales, odd widths; and that
// in deterministic mode a row's bits do not depend on how many there are.
#include <algorithm>
#include <cmath>

#include "collective/communicator.h"
#include "core/float8.h"
#include "cuda/kernels/device_traits.h"
#include "cuda_twin.h"
#include "test/rank_group.h"

namespace skein {
namespace {

// Hopper keeps some 14 bits of a term beside a large sum.
constexpr double kWideSums = 4e-3;
constexpr double kSumOrder = 1e-4;

class CudaFloat8Test : public CudaFastTest {
 protected:
  void SetUp() override {
    CudaFastTest::SetUp();
    if (IsSkipped()) return;
    if (!cuda::CurrentDeviceTraits().has_warpgroups) GTEST_SKIP() << "no warpgroup products";
    StepLimits limits;
    limits.max_rows = 1100;
    limits.max_sequences = 8;
    limits.max_blocks_per_sequence = 1;
    limits.block_size = 16;
    limits_ = limits;
  }

  void Prepare(int64_t in, int64_t out, bool has_bias, float input_scale = 0) {
    in_ = in;
    out_ = out;
    values_ = Random(in * out, 0.05f);
    bias_values_ = Random(out, 0.5f);
    RawLinear raw;
    raw.in_features = in;
    raw.out_features = out;
    raw.weight = MakeMatrix(values_.data(), DType::kFloat32, out, in);
    raw.quantizes = true;
    if (has_bias) raw.bias = MakeMatrix(bias_values_.data(), DType::kFloat32, 1, out);
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    if (input_scale != 0) {
      codes.resize(values_.size());
      scales.resize(static_cast<size_t>(out));
      for (int64_t row = 0; row < out; ++row) {
        const float* from = values_.data() + row * in;
        scales[static_cast<size_t>(row)] =
            QuantizeToFloat8([from](int64_t i) { return from[i]; }, in, 0, codes.data() + row * in);
      }
      raw.quantizes = false;
      raw.input_scale = input_scale;
      raw.weight = MakeMatrix(codes.data(), DType::kFloat8E4M3, out, in);
      raw.weight_scales = MakeMatrix(scales.data(), DType::kFloat32, 1, out);
    }
    cpu_linear_ = cpu_->PrepareLinear(raw, DType::kBFloat16);
    fast_linear_ = fast_->PrepareLinear(raw, DType::kBFloat16);
    exact_linear_ = cuda_->PrepareLinear(raw, DType::kBFloat16);
    fast_->ReserveSteps(limits_);
    cuda_->ReserveSteps(limits_);
  }

  std::string Label(int64_t rows, const char* what) const {
    return Format("%s: %lld rows, %lld x %lld", what, static_cast<long long>(rows),
                  static_cast<long long>(out_), static_cast<long long>(in_));
  }

  void ExpectProductsAgree(int64_t rows) {
    const Twin x = RandomTwin(rows, in_);
    for (Backend* backend : {fast_.get(), cuda_.get()}) {
      const PreparedLinear& linear = backend == fast_.get() ? *fast_linear_ : *exact_linear_;
      for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
        const Twin out = PoisonedTwin(rows, out_, type);
        cpu_->Linear(*cpu_linear_, x.cpu->view(), Activation::kNone, out.cpu->view());
        backend->Linear(linear, x.cuda->view(), Activation::kNone, out.cuda->view());
        backend->FinishStep();
        if (type == DType::kBFloat16) {
          const Twin gelu = PoisonedTwin(rows, out_);
          cpu_->Linear(*cpu_linear_, x.cpu->view(), Activation::kGeluErf, gelu.cpu->view());
          backend->Linear(linear, x.cuda->view(), Activation::kGeluErf, gelu.cuda->view());
          backend->FinishStep();
          ExpectClose(gelu, kWideSums, Label(rows, "GELU"));
        }
        const bool is_exact = type == DType::kFloat32 && rows <= 8 && backend == fast_.get();
        ExpectClose(out, is_exact ? kSumOrder : kWideSums, Label(rows, Name(type)));
      }
    }
  }

  void ExpectSwiGluAgrees(int64_t rows) {
    const Twin x = RandomTwin(rows, in_);
    for (Backend* backend : {fast_.get(), cuda_.get()}) {
      const PreparedLinear& linear = backend == fast_.get() ? *fast_linear_ : *exact_linear_;
      const Twin scratch = PoisonedResidual(rows, out_), out = PoisonedTwin(rows, out_ / 2);
      cpu_->GateUpSwiGlu(*cpu_linear_, x.cpu->view(), scratch.cpu->view(), out.cpu->view());
      backend->GateUpSwiGlu(linear, x.cuda->view(), scratch.cuda->view(), out.cuda->view());
      backend->FinishStep();
      ExpectClose(out, 2 * kRounding, Label(rows, "swiglu"));
    }
  }

  StepLimits limits_;
  int64_t in_ = 0, out_ = 0;
  std::vector<float> values_, bias_values_;
  std::unique_ptr<PreparedLinear> cpu_linear_, fast_linear_, exact_linear_;
};

TEST_F(CudaFloat8Test, ProductsAgreeOverShapes) {
  struct Shape {
    int64_t in, out;
    bool has_bias;
  };
  // 40 and 104: rows of codes that begin between multiples of 16 in a file. 20: by a value at a
  // time. 60 outputs: not for the wide kernel.
  for (const Shape& shape :
       {Shape{16, 8, true}, Shape{40, 24, false}, Shape{104, 64, true}, Shape{20, 60, true},
        Shape{640, 1040, true}, Shape{5120, 720, true}, Shape{6912, 512, false}}) {
    Prepare(shape.in, shape.out, shape.has_bias);
    for (const int64_t rows : Values({1, 2, 7, 8, 9, 16, 17, 33, 64, 100, 129, 300}, {1, 9, 33})) {
      ExpectProductsAgree(rows);
    }
  }
}

TEST_F(CudaFloat8Test, StaticScalesCutOff) {
  Prepare(640, 320, true, 0.004f);
  for (const int64_t rows : {1, 16, 40, 260}) ExpectProductsAgree(rows);
  Prepare(40, 24, false, 0.004f);
  for (const int64_t rows : {1, 40}) ExpectProductsAgree(rows);
}

TEST_F(CudaFloat8Test, GateAndUpAgree) {
  for (const auto& [in, out] : {std::pair{64, 48}, {640, 1056}, {1304, 208}}) {
    Prepare(in, out, false);
    for (const int64_t rows : Values({1, 8, 13, 16, 40, 96, 300}, {1, 13, 40})) {
      ExpectSwiGluAgrees(rows);
    }
  }
  if (IsUnderChecker()) return;
  // Of the 38 B model: as many outputs as one rank has, as many inputs as all have.
  for (const auto& [in, out] : {std::pair{640, 55'296}, {5120, 6912}}) {
    Prepare(in, out, false);
    for (const int64_t rows : {1, 4, 8, 9}) ExpectSwiGluAgrees(rows);
  }
}

// A layer of the tower: its products' bias and scale come with the residual.
TEST_F(CudaFloat8Test, SumsAreAddedToTheResidual) {
  const auto single = MakeLocalGroup(1);
  Prepare(640, 1280, false);
  const Twin bias = Parameters(1, out_, 0.5f, 0.0f), scale = Parameters(1, out_, 0.5f, 0.0f);
  for (const auto& [rows, is_tower] : {std::pair<int64_t, bool>{1, false},
                                       {16, false},
                                       {48, false},
                                       {300, false},
                                       {1100, false},
                                       {16, true},
                                       {300, true},
                                       {1100, true}}) {
    const Twin x = RandomTwin(rows, in_), residual = RandomResidual(rows, out_, 2.0f),
               partial = PoisonedResidual(rows, out_), normed = PoisonedTwin(rows, out_),
               weight = Parameters(1, out_, 0.2f, 1.0f);
    const auto run = [&](Backend& backend, const PreparedLinear& linear,
                         const std::unique_ptr<DeviceTensor> Twin::*side) {
      const NormWeights norm{NormKind::kRms, (weight.*side)->view().As<const float>(), nullptr,
                             1e-5f};
      const Matrix out = (normed.*side)->view();
      backend.LinearResidualNorm(
          *single[0], linear, (x.*side)->view(),
          {(partial.*side)->view(), is_tower ? (bias.*side)->view().As<const float>() : nullptr,
           is_tower ? (scale.*side)->view().As<const float>() : nullptr, (residual.*side)->view(),
           &norm, &out});
    };
    run(*cpu_, *cpu_linear_, &Twin::cpu);
    run(*fast_, *fast_linear_, &Twin::cuda);
    fast_->FinishStep();
    ExpectClose(residual, 2e-3, Label(rows, "residual"));
    ExpectClose(normed, 2 * kRounding, Label(rows, "normed"));
  }
}

TEST_F(CudaFloat8Test, ANormsOnlyReaderFindsFloat8AndNoRows) {
  Prepare(640, 320, false);
  for (const int64_t rows : {1, 16, 300}) {
    const Twin x = RandomResidual(rows, in_, 2.0f), weight = Parameters(1, in_, 0.2f, 1.0f);
    std::vector<float> outputs[2];
    for (const bool writes_rows : {true, false}) {
      const NormWeights norm{NormKind::kRms, weight.cuda->view().As<const float>(), nullptr, 1e-5f,
                             writes_rows || !fast_linear_->ReadsFloat8()};
      const Twin normed = PoisonedTwin(rows, in_), out = PoisonedResidual(rows, out_);
      fast_->Norm(x.cuda->view(), norm, normed.cuda->view());
      fast_->Linear(*fast_linear_, normed.cuda->view(), Activation::kNone, out.cuda->view());
      fast_->FinishStep();
      outputs[writes_rows ? 0 : 1] = Read(out.cuda->view(), true);
      const std::vector<float> written = Read(normed.cuda->view(), true);
      EXPECT_EQ(std::isnan(written[0]), !writes_rows) << Label(rows, "normed");
    }
    EXPECT_EQ(outputs[0], outputs[1]) << Label(rows, "product");
  }
  Prepare(640, 320, false, 0.004f);
  EXPECT_FALSE(fast_linear_->ReadsFloat8());  // static scales are not the norm's
}

TEST_F(CudaFloat8Test, DeterministicRowsDoNotDependOnTheirNumber) {
  for (const auto& [in, out] : {std::pair{640, 1056}, {6912, 512}, {96, 60}, {5120, 7168}}) {
    if (IsUnderChecker() && in * out > 8'000'000) continue;
    Prepare(in, out, false);
    constexpr int64_t kRows = 420;
    const Twin x = RandomTwin(kRows, in);
    const Twin all = PoisonedResidual(kRows, out), product = PoisonedTwin(kRows, out / 2),
               gelu = PoisonedTwin(kRows, out), scratch = PoisonedResidual(kRows, out);
    cuda_->Linear(*exact_linear_, x.cuda->view(), Activation::kNone, all.cuda->view());
    cuda_->GateUpSwiGlu(*exact_linear_, x.cuda->view(), scratch.cuda->view(), product.cuda->view());
    cuda_->Linear(*exact_linear_, x.cuda->view(), Activation::kGeluErf, gelu.cuda->view());
    cuda_->FinishStep();
    for (const int64_t rows : Values({1, 8, 17, 33, 65, 97, 129, 257}, {8, 65, 257})) {
      for (const int64_t first : Values({0, 5, 130}, {5})) {
        const Twin some = PoisonedResidual(rows, out), gated = PoisonedTwin(rows, out / 2),
                   active = PoisonedTwin(rows, out);
        const Matrix from = x.cuda->view().Rows(first, rows);
        cuda_->Linear(*exact_linear_, from, Activation::kNone, some.cuda->view());
        cuda_->GateUpSwiGlu(*exact_linear_, from, scratch.cuda->view().Rows(0, rows),
                            gated.cuda->view());
        cuda_->Linear(*exact_linear_, from, Activation::kGeluErf, active.cuda->view());
        cuda_->FinishStep();
        ASSERT_EQ(Read(active.cuda->view(), true), Read(gelu.cuda->view().Rows(first, rows), true))
            << Label(rows, "GELU") << " from " << first;
        ASSERT_EQ(Read(some.cuda->view(), true), Read(all.cuda->view().Rows(first, rows), true))
            << Label(rows, "product") << " from " << first;
        ASSERT_EQ(Read(gated.cuda->view(), true),
                  Read(product.cuda->view().Rows(first, rows), true))
            << Label(rows, "swiglu") << " from " << first;
      }
    }
  }
}

}  // namespace
}  // namespace skein
