// Dense products on the GPU: our own kernel for few rows, the choice between it and cuBLASLt, gate
// and up with SwiGLU, and the bits of deterministic mode.
#include "cuda/kernels/skinny_product.h"
#include "cuda_twin.h"

namespace skein {
namespace {

// float32 sums of the same bfloat16 products in another order.
constexpr double kSumOrder = 1e-4;

class CudaProductTest : public CudaOpsTest {
 protected:
  // A linear on both back ends, and the host's values of it.
  struct Linears {
    std::vector<float> weight, bias;
    std::unique_ptr<PreparedLinear> cpu, cuda;
  };

  Linears MakeLinears(Backend& cuda, int64_t in, int64_t out, bool has_bias) {
    Linears linears{Random(in * out, 0.05f), Random(out, 0.5f), nullptr, nullptr};
    RawLinear raw;
    raw.in_features = in;
    raw.out_features = out;
    raw.weight = MakeMatrix(linears.weight.data(), DType::kFloat32, out, in);
    if (has_bias) raw.bias = MakeMatrix(linears.bias.data(), DType::kFloat32, 1, out);
    linears.cpu = cpu_->PrepareLinear(raw, DType::kBFloat16);
    linears.cuda = cuda.PrepareLinear(raw, DType::kBFloat16);
    Settle();
    return linears;
  }

  // All but `cols` columns from `first` on are still poison.
  void ExpectPoisonAround(const Matrix& outer, int64_t first, int64_t cols, const char* what) {
    const std::vector<float> values = Read(outer, true);
    for (int64_t row = 0; row < outer.rows; ++row) {
      for (int64_t col = 0; col < outer.cols; ++col) {
        if (col >= first && col < first + cols) continue;
        ASSERT_TRUE(std::isnan(values[static_cast<size_t>(row * outer.cols + col)]))
            << what << ": row " << row << ", column " << col;
      }
    }
  }

  // The device's bfloat16 copy of float values.
  std::unique_ptr<DeviceTensor> OnDevice(const std::vector<float>& values, int64_t rows,
                                         int64_t cols) {
    std::vector<BFloat16> rounded(values.begin(), values.end());
    auto tensor = cuda_->Upload(MakeMatrix(rounded.data(), DType::kBFloat16, rows, cols));
    Settle();
    return tensor;
  }

  cuda::Stream& stream() const { return *static_cast<cuda::Stream*>(cuda_->stream()); }
};

// One to four tiles in a pass, one pass and several, few and many columns, widths that uneven
// tensor parallelism gives, x and out as columns of wider matrices; bfloat16 with a bias, float32
// without.
TEST_F(CudaProductTest, OwnProductAgrees) {
  if (!cuda::HasSkinnyProduct()) GTEST_SKIP() << "too little shared memory";
  const int64_t shapes[][2] = {{8, 1},      {40, 373},   {352, 180},   {520, 2048}, {520, 3700},
                               {96, 5120},  {520, 6300}, {640, 9000},  {72, 30011}, {6912, 640},
                               {9000, 300}, {1280, 257}, {27648, 132}, {264, 17000}};
  for (const auto& [in, outputs] : shapes) {
    for (const bool has_bias : {false, true}) {
      const Linears linears = MakeLinears(*cuda_, in, outputs, has_bias);
      const auto weight = OnDevice(linears.weight, outputs, in);
      const auto device_bias = OnDevice(linears.bias, 1, outputs);
      const DType type = has_bias ? DType::kBFloat16 : DType::kFloat32;
      for (const int64_t rows : Values({1, 3, 8}, {3})) {
        const Twin x = RandomTwin(rows, in + 16), expected = PoisonedTwin(rows, outputs, type),
                   out = PoisonedTwin(rows, outputs + 5, type);
        cpu_->Linear(*linears.cpu, x.cpu->view().Cols(8, in), Activation::kNone,
                     expected.cpu->view());
        cuda::SkinnyProduct(x.cuda->view().Cols(8, in), weight->view(),
                            has_bias ? device_bias->view().data : nullptr,
                            out.cuda->view().Cols(3, outputs), stream());
        const std::string what =
            Format("%lld rows, %lld x %lld, bias %d", (long long)rows, (long long)in,
                   (long long)outputs, static_cast<int>(has_bias));
        ExpectClose(expected.cpu->view(), out.cuda->view().Cols(3, outputs),
                    type == DType::kFloat32 ? kSumOrder : kRounding, what);
        ExpectPoisonAround(out.cuda->view(), 3, outputs, what.c_str());
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(CudaProductTest, OwnSwiGluAgrees) {
  if (!cuda::HasSkinnyProduct()) GTEST_SKIP() << "too little shared memory";
  const int64_t shapes[][2] = {{16, 1},    {88, 45},    {512, 1280}, {136, 2000},
                               {72, 3168}, {640, 6912}, {80, 13824}, {9000, 132}};
  for (const auto& [in, width] : shapes) {
    const Linears linears = MakeLinears(*cuda_, in, 2 * width, false);
    const auto weight = OnDevice(linears.weight, 2 * width, in);
    for (const int64_t rows : Values({1, 2, 7, 8}, {7})) {
      const Twin x = RandomTwin(rows, in), scratch = PoisonedResidual(rows, 2 * width),
                 expected = PoisonedTwin(rows, width), out = PoisonedTwin(rows, width + 3);
      cpu_->GateUpSwiGlu(*linears.cpu, x.cpu->view(), scratch.cpu->view(), expected.cpu->view());
      cuda::SkinnySwiGlu(x.cuda->view(), weight->view(), out.cuda->view().Cols(1, width), stream());
      const std::string what =
          Format("%lld rows, %lld x %lld", (long long)rows, (long long)in, (long long)width);
      ExpectClose(expected.cpu->view(), out.cuda->view().Cols(1, width), 2 * kRounding, what);
      ExpectPoisonAround(out.cuda->view(), 1, width, what.c_str());
      if (HasFailure()) return;
    }
  }
}

// Whatever takes the product, in both modes: rows on both sides of the limits, k that is no
// multiple of 8 or 16, rows of x that begin between multiples of 16 bytes.
TEST_F(CudaProductTest, LinearsAgreeForAllNumbersOfRows) {
  const int64_t shapes[][2] = {{60, 180}, {96, 373}, {72, 16}, {147, 80}, {1280, 3584}};
  for (const bool deterministic : {false, true}) {
    const auto backend = MakeCuda(deterministic);
    for (const auto& [in, outputs] : shapes) {
      for (const bool has_bias : {false, true}) {
        const Linears linears = MakeLinears(*backend, in, outputs, has_bias);
        for (int64_t rows = 1; rows <= 68; rows += rows < 20 || rows > 60 ? 1 : 6) {
          if (IsUnderChecker() && rows != 1 && rows != 9 && rows != 64) continue;
          for (const int64_t offset : Values({0, 1, 8}, {1})) {
            const Twin x = RandomTwin(rows, in + 24);
            for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
              const Twin out = PoisonedTwin(rows, outputs, type);
              cpu_->Linear(*linears.cpu, x.cpu->view().Cols(offset, in), Activation::kNone,
                           out.cpu->view());
              backend->Linear(*linears.cuda, x.cuda->view().Cols(offset, in), Activation::kNone,
                              out.cuda->view());
              backend->FinishStep();
              ExpectClose(out, type == DType::kFloat32 ? kSumOrder : kRounding,
                          Format("%lld rows, %lld x %lld, offset %lld, deterministic %d",
                                 (long long)rows, (long long)in, (long long)outputs,
                                 (long long)offset, static_cast<int>(deterministic)));
              if (HasFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_F(CudaProductTest, GateUpSwiGluAgreesForFewRowsAndMany) {
  for (const bool deterministic : {false, true}) {
    const auto backend = MakeCuda(deterministic);
    for (const auto& [in, width] : {std::pair<int64_t, int64_t>{60, 90}, {80, 12}, {1280, 3456}}) {
      const Linears linears = MakeLinears(*backend, in, 2 * width, false);
      for (const int64_t rows : Values({1, 4, 8, 9, 16, 33, 64, 65, 128, 200}, {1, 16, 64, 200})) {
        const Twin x = RandomTwin(rows, in), scratch = PoisonedResidual(rows, 2 * width),
                   out = PoisonedTwin(rows, width);
        cpu_->GateUpSwiGlu(*linears.cpu, x.cpu->view(), scratch.cpu->view(), out.cpu->view());
        backend->GateUpSwiGlu(*linears.cuda, x.cuda->view(), scratch.cuda->view(),
                              out.cuda->view());
        backend->FinishStep();
        ExpectClose(
            out, 2 * kRounding,
            Format("gate, up, SwiGLU: %lld rows, %lld x %lld, deterministic %d", (long long)rows,
                   (long long)in, (long long)width, static_cast<int>(deterministic)));
      }
    }
  }
}

// Sums have a fixed order: the same call gives the same bits.
TEST_F(CudaProductTest, OwnProductsRepeatTheirBits) {
  if (!cuda::HasSkinnyProduct()) GTEST_SKIP() << "too little shared memory";
  constexpr int64_t kIn = 5120, kOut = 9000, kRows = 8;
  const auto weight = OnDevice(Random(kIn * kOut, 0.05f), kOut, kIn);
  const Twin x = RandomTwin(kRows, kIn);
  std::vector<float> first;
  for (int run = 0; run < Times(20, 3); ++run) {
    const Twin out = PoisonedResidual(kRows, kOut);
    cuda::SkinnyProduct(x.cuda->view(), weight->view(), nullptr, out.cuda->view(), stream());
    cuda_->FinishStep();
    const std::vector<float> values = Read(out.cuda->view(), true);
    if (run == 0) first = values;
    ASSERT_EQ(std::memcmp(first.data(), values.data(), values.size() * sizeof(float)), 0);
  }
}

// Deterministic mode: a row's bits are the same alone, among few, in a whole tile that is
// multiplied where it lies, and among 300, wherever it stands; by the wide kernel and by cuBLASLt.
TEST_F(CudaProductTest, DeterministicRowsDoNotDependOnTheirNumber) {
  const auto fixed = MakeCuda(true);
  constexpr int64_t kRows = 300;
  const int64_t shapes[][2] = {{60, 180},    {80, 240},   {96, 373},    {147, 80},
                               {1280, 5120}, {5120, 896}, {27648, 640}, {5120, 7168}};
  for (const auto& [in, outputs] : shapes) {
    if (IsUnderChecker() && in > 1000) continue;
    for (const bool has_bias : {false, true}) {
      const Linears linears = MakeLinears(*fixed, in, outputs, has_bias);
      const Twin x = RandomTwin(kRows, in);
      for (const DType type : {DType::kBFloat16, DType::kFloat32}) {
        const auto many = fixed->Allocate(type, kRows, outputs);
        const auto few = fixed->Allocate(type, kRows, outputs);
        fixed->Linear(*linears.cuda, x.cuda->view(), Activation::kNone, many->view());
        fixed->FinishStep();
        const std::vector<float> expected = Read(many->view(), true);
        for (const int64_t rows :
             Values({1, 2, 5, 8, 9, 16, 33, 64, 65, 128, 200}, {1, 128, 200})) {
          for (const int64_t start : Values({0, 37, 100, kRows - rows}, {37})) {
            SKEIN_CUDA(cudaMemset(few->view().data, 0xff,
                                  static_cast<size_t>(kRows) * few->view().RowBytes()));
            Settle();
            const Matrix out = few->view().Rows(start, rows);
            fixed->Linear(*linears.cuda, x.cuda->view().Rows(start, rows), Activation::kNone, out);
            fixed->FinishStep();
            const std::vector<float> values = Read(out, true);
            ASSERT_EQ(std::memcmp(values.data(), expected.data() + start * outputs,
                                  values.size() * sizeof(float)),
                      0)
                << rows << " rows from " << start << ", " << in << " x " << outputs << ", bias "
                << has_bias << ", " << Name(type);
          }
        }
      }
    }
  }
}

TEST_F(CudaProductTest, DeterministicGateUpSwiGluDoesNotDependOnTheNumberOfRows) {
  const auto fixed = MakeCuda(true);
  constexpr int64_t kIn = 1280, kWidth = 3456, kRows = 300;
  const Linears linears = MakeLinears(*fixed, kIn, 2 * kWidth, false);
  const Twin x = RandomTwin(kRows, kIn);
  const auto run = [&](int64_t start, int64_t rows) {
    const auto scratch = fixed->Allocate(DType::kFloat32, rows, 2 * kWidth);
    const auto out = fixed->Allocate(DType::kBFloat16, rows, kWidth);
    fixed->GateUpSwiGlu(*linears.cuda, x.cuda->view().Rows(start, rows), scratch->view(),
                        out->view());
    fixed->FinishStep();
    return Read(out->view(), true);
  };
  const std::vector<float> expected = run(0, kRows);
  for (const int64_t rows : {1, 2, 16, 33, 64}) {
    const std::vector<float> values = run(100, rows);
    ASSERT_EQ(
        std::memcmp(values.data(), expected.data() + 100 * kWidth, values.size() * sizeof(float)),
        0)
        << rows << " rows";
  }
}

// The first run of a bucket is eager and then recorded, the others play the record: the same values
// from rows that fill a tile and rows that do not, few and many, and in deterministic mode the same
// bits.
TEST_F(CudaProductTest, RecordedProductsRepeat) {
  for (const bool deterministic : {false, true}) {
    const auto backend = MakeCuda(deterministic);
    constexpr int64_t kIn = 1280, kOut = 3584;
    const Linears linears = MakeLinears(*backend, kIn, kOut, deterministic);
    for (const int64_t rows : Values({1, 3, 8, 16, 64, 128, 160}, {1, 16, 160})) {
      const Twin x = RandomTwin(rows, kIn), scratch = PoisonedResidual(rows, kOut),
                 product = PoisonedTwin(rows, kOut), gated = PoisonedTwin(rows, kOut / 2);
      std::vector<float> eager;
      for (int run = 0; run < 3; ++run) {
        for (const Matrix& out : {product.cuda->view(), gated.cuda->view()}) {
          SKEIN_CUDA(cudaMemset(out.data, 0xff, static_cast<size_t>(rows) * out.RowBytes()));
        }
        Settle();
        backend->RunCaptured(static_cast<int32_t>(rows), [&] {
          backend->Linear(*linears.cuda, x.cuda->view(), Activation::kNone, product.cuda->view());
          backend->GateUpSwiGlu(*linears.cuda, x.cuda->view(), scratch.cuda->view(),
                                gated.cuda->view());
        });
        backend->FinishStep();
        std::vector<float> values = Read(product.cuda->view(), true);
        const std::vector<float> others = Read(gated.cuda->view(), true);
        values.insert(values.end(), others.begin(), others.end());
        if (run == 0) eager = values;
        double difference = 0, norm = 0;
        for (size_t i = 0; i < values.size(); ++i) {
          difference += std::pow(static_cast<double>(values[i]) - eager[i], 2);
          norm += std::pow(static_cast<double>(eager[i]), 2);
        }
        // NaN never passes.
        ASSERT_TRUE(std::sqrt(difference) <= (deterministic ? 0 : kRounding) * std::sqrt(norm))
            << "run " << run << ", " << rows << " rows, deterministic " << deterministic;
        ASSERT_GT(norm, 0);
      }
      backend->DropCaptured();
    }
  }
}

}  // namespace
}  // namespace skein
