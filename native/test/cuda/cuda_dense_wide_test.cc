// The dense product of many rows beside the CPU's: every tile, whole pieces and cut ones, ragged
// rows, columns and inputs, gate and up in one kernel, sums added to what is there, biases,
// strides.
#include <algorithm>
#include <tuple>

#include "cuda/device_memory.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda_twin.h"

namespace skein {
namespace {

// float32 sums of the same bfloat16 products in another order.
constexpr double kSumOrder = 1e-4;

enum class Output { kBFloat16, kFloat, kAdded, kGelu };

struct WideCase {
  int64_t rows, in, out;
  bool has_bias = false, swiglu = false;
  Output output = Output::kBFloat16;
  int64_t x_padding = 0, out_padding = 0;
  // As PlanDenseWide takes them.
  int tile = -1, clusters = 0;
};

class CudaDenseWideTest : public CudaHopperTest {
 protected:
  void MakeWeights(int64_t in, int64_t out) {
    std::vector<float> values = Random(in * out, 0.05f);
    std::vector<BFloat16> rounded(values.begin(), values.end());
    weight_ = cuda_->Upload(MakeMatrix(rounded.data(), DType::kBFloat16, out, in));
    RawLinear raw;
    raw.in_features = in;
    raw.out_features = out;
    raw.weight = MakeMatrix(values.data(), DType::kFloat32, out, in);
    cpu_linear_ = cpu_->PrepareLinear(raw, DType::kBFloat16);
    bias_values_ = Random(out, 0.5f);
    scale_values_ = Random(out, 0.5f);
    bias_ = cuda_->Upload(MakeMatrix(bias_values_.data(), DType::kFloat32, 1, out));
    scale_ = cuda_->Upload(MakeMatrix(scale_values_.data(), DType::kFloat32, 1, out));
  }

  // The CPU's sums, and what follows them.
  std::vector<float> Expected(const WideCase& c, const std::vector<float>& x,
                              const std::vector<float>& before) {
    const auto out = static_cast<size_t>(c.out);
    const auto operand = cpu_->Allocate(DType::kFloat32, c.rows, c.in),
               result = cpu_->Allocate(DType::kFloat32, c.rows, c.out);
    std::memcpy(operand->view().data, x.data(), x.size() * sizeof(float));
    cpu_->Linear(*cpu_linear_, operand->view(), Activation::kNone, result->view());
    cpu_->FinishStep();
    std::vector<float> sums = Read(result->view(), false);
    for (size_t i = 0; i < sums.size(); ++i) {
      if (c.has_bias) sums[i] += bias_values_[i % out];
      if (c.output == Output::kGelu) {
        const double value = sums[i];
        sums[i] = static_cast<float>(0.5 * value * std::erfc(-value * std::sqrt(0.5)));
      }
      if (c.output == Output::kAdded) {
        sums[i] = before[i] + sums[i] * (c.has_bias ? scale_values_[i % out] : 1.0f);
      }
    }
    if (!c.swiglu) return sums;
    std::vector<float> values(sums.size() / 2);
    for (size_t i = 0; i < values.size(); ++i) {
      const float* row = sums.data() + i / (out / 2) * out + i % (out / 2);
      values[i] = row[0] / (1.0f + std::exp(-row[0])) * row[out / 2];
    }
    return values;
  }

  // x with a stride; rows that do not exist, and inputs beside them, are NaN: they must not be
  // read, or not count.
  Twin Operand(const WideCase& c, const std::vector<float>& values) {
    const int64_t stride = c.in + c.x_padding;
    Twin x = PoisonedTwin(c.rows + 3, stride);
    const std::vector<BFloat16> rounded(values.begin(), values.end());
    const auto width = static_cast<size_t>(c.in) * 2;
    SKEIN_CUDA(cudaMemcpy2D(x.cuda->view().data, static_cast<size_t>(stride) * 2, rounded.data(),
                            width, width, static_cast<size_t>(c.rows), cudaMemcpyHostToDevice));
    return x;
  }

  cuda::ProductOperands Operands(const WideCase& c, const Matrix& x, const Matrix& out) const {
    cuda::ProductOperands operands{};
    operands.x = x.As<__nv_bfloat16>();
    operands.x_stride = x.stride;
    operands.rows = c.rows;
    operands.bias = c.has_bias ? bias_->view().As<float>() : nullptr;
    operands.out = out.data;
    operands.out_is_float = out.type == DType::kFloat32;
    operands.out_stride = out.stride;
    operands.swiglu = c.swiglu;
    operands.adds = c.output == Output::kAdded;
    operands.gelu = c.output == Output::kGelu;
    operands.scale = operands.adds && c.has_bias ? scale_->view().As<float>() : nullptr;
    return operands;
  }

  void ExpectAgrees(const WideCase& c) {
    SCOPED_TRACE(
        Format("%lld rows, %lld x %lld, bias %d, swiglu %d, output %d, strides + %lld and "
               "%lld, tile %d, clusters %d",
               (long long)c.rows, (long long)c.in, (long long)c.out, c.has_bias, c.swiglu,
               static_cast<int>(c.output), (long long)c.x_padding, (long long)c.out_padding, c.tile,
               c.clusters));
    const int64_t width = c.swiglu ? c.out / 2 : c.out, out_stride = width + c.out_padding;
    const std::vector<float> values = Random(c.rows * c.in), before = Random(c.rows * width);
    const Twin x = Operand(c, values);
    const DType type = IsHalf(c.output) ? DType::kBFloat16 : DType::kFloat32;
    const auto out = cuda_->Allocate(type, c.rows + 2, out_stride);
    SKEIN_CUDA(cudaMemset(out->view().data, 0xff,
                          static_cast<size_t>((c.rows + 2) * out_stride) * SizeOf(type)));
    if (c.output == Output::kAdded) {
      const auto bytes = static_cast<size_t>(width) * sizeof(float);
      SKEIN_CUDA(cudaMemcpy2D(out->view().data, static_cast<size_t>(out_stride) * sizeof(float),
                              before.data(), bytes, bytes, static_cast<size_t>(c.rows),
                              cudaMemcpyHostToDevice));
    }
    const cuda::WidePlan plan =
        cuda::PlanDenseWide(weight_->view(), c.rows, device_, c.tile, c.clusters);
    const size_t bytes = cuda::WidePartialBytes(plan);
    EXPECT_LE(bytes, cuda::WideMostPartialBytes(device_));
    const cuda::DeviceMemory partial(bytes + 16);
    SKEIN_CUDA(cudaMemset(partial.data(), 0xff, partial.bytes()));
    Settle();
    cuda::ProductOperands operands = Operands(c, x.cuda->view(), out->view());
    operands.partial = partial.As<float>();
    ASSERT_TRUE(cuda::DenseWideTakes(weight_->view(), operands, device_));
    cuda::DenseWideProduct(weight_->view(), operands, plan, Stream());
    ASSERT_NO_THROW(cuda_->FinishStep());

    ExpectOnlyThese(out->view(), c.rows, width, Expected(c, values, before),
                    IsHalf(c.output) || c.swiglu ? kRounding : kSumOrder);
  }
  static bool IsHalf(Output output) {
    return output == Output::kBFloat16 || output == Output::kGelu;
  }
  // Every way out.
  void ExpectAllAgree(WideCase c) {
    for (const Output output : {Output::kBFloat16, Output::kFloat, Output::kAdded, Output::kGelu}) {
      c.swiglu = false;
      c.output = output;
      // GELU has no way out two bytes at a time, and large tiles only.
      if (output == Output::kGelu) {
        const auto plan = cuda::PlanDenseWide(weight_->view(), c.rows, device_, c.tile, c.clusters);
        if (c.out_padding % 4 != 0 || !cuda::WideTileHasGelu(plan.tile)) continue;
      }
      ExpectAgrees(c);
      if (output == Output::kAdded || output == Output::kGelu || c.out % 16 != 0) continue;
      c.swiglu = true;
      ExpectAgrees(c);
    }
  }

  static cuda::Stream& Stream() { return *static_cast<cuda::Stream*>(cuda_->stream()); }

  std::unique_ptr<DeviceTensor> weight_, bias_, scale_;
  std::unique_ptr<PreparedLinear> cpu_linear_;
  std::vector<float> bias_values_, scale_values_;
};

TEST_F(CudaDenseWideTest, AgreesForManyRows) {
  MakeWeights(640, 1040);
  for (const int64_t rows : Values(
           {1, 17, 32, 33, 64, 65, 96, 100, 128, 129, 192, 200, 256, 257, 700}, {33, 100, 257})) {
    ExpectAllAgree({rows, 640, 1040});
  }
}

TEST_F(CudaDenseWideTest, AgreesForEveryTile) {
  MakeWeights(768, 1312);
  for (int tile = 0; tile < cuda::kNumDenseWideTiles; ++tile) {
    for (const int64_t rows : Values({1, 9, 64, 150, 300}, {150})) {
      WideCase c{rows, 768, 1312, true};
      c.tile = tile;
      ExpectAllAgree(c);
    }
  }
}

// Few clusters have whole pieces and shares of cut ones; many have shares of a step or two.
TEST_F(CudaDenseWideTest, AgreesHoweverPiecesAreCut) {
  MakeWeights(1304, 2080);
  for (const int64_t clusters : Values({1, 2, 3, 4, 5, 7, 13, 40, 66}, {1, 7, 66})) {
    for (const int64_t rows : Values({40, 128, 220, 520}, {40, 220})) {
      WideCase c{rows, 1304, 2080, true};
      c.clusters = static_cast<int>(clusters);
      ExpectAllAgree(c);
    }
  }
}

TEST_F(CudaDenseWideTest, AgreesOverShapes) {
  const WideCase shapes[] = {{40, 8, 8},
                             {64, 40, 24},
                             {70, 64, 96, true},
                             {33, 72, 16},
                             {90, 200, 1000},
                             {65, 336, 24},
                             {256, 1280, 5120},
                             {48, 6912, 512},
                             {300, 3200, 9600, true},
                             {1025, 3200, 3200, true}};
  for (const WideCase& c : shapes) {
    MakeWeights(c.in, c.out);
    ExpectAllAgree(c);
  }
}

TEST_F(CudaDenseWideTest, StridesAreRespected) {
  MakeWeights(520, 160);
  for (const int64_t x_padding : {0, 8, 200}) {
    for (const int64_t out_padding : {1, 2, 3, 4, 64}) {
      WideCase c{100, 520, 160, true};
      c.x_padding = x_padding;
      c.out_padding = out_padding;
      ExpectAllAgree(c);
    }
  }
}

TEST_F(CudaDenseWideTest, AgreesForLongPrompts) {
  MakeWeights(2048, 4096);
  ExpectAllAgree({2000, 2048, 4096});
}

// The order of partial sums does not depend on which block is first.
TEST_F(CudaDenseWideTest, BitsAreTheSameEveryTime) {
  constexpr int64_t kRows = 100, kIn = 6912, kOut = 1024;
  MakeWeights(kIn, kOut);
  const Twin x = RandomTwin(kRows, kIn);
  const cuda::WidePlan plan = cuda::PlanDenseWide(weight_->view(), kRows, device_);
  ASSERT_GT(plan.cut, 0);
  const cuda::DeviceMemory partial(cuda::WidePartialBytes(plan));
  std::vector<float> first;
  for (int turn = 0; turn < Times(20, 3); ++turn) {
    const auto out = cuda_->Allocate(DType::kFloat32, kRows, kOut);
    cuda::ProductOperands operands = Operands({kRows, kIn, kOut}, x.cuda->view(), out->view());
    operands.partial = partial.As<float>();
    cuda::DenseWideProduct(weight_->view(), operands, plan, Stream());
    cuda_->FinishStep();
    const std::vector<float> values = Read(out->view(), true);
    if (turn == 0) first = values;
    ASSERT_EQ(std::memcmp(first.data(), values.data(), values.size() * sizeof(float)), 0)
        << "turn " << turn;
  }
}

// A row's bits are the same in every tile, alone and among others, where it stands in them, with
// all of a piece in one cluster and with its chunks as shares; and sums that are added to what is
// there are those that are added to it later.
TEST_F(CudaDenseWideTest, FixedPlansLeaveARowsBitsWhateverTheBatch) {
  const int64_t most = Times(1100, 130);
  bool was_shared = false, was_whole = false;
  for (const auto& [in, out, chunks] : {std::tuple<int64_t, int64_t, int>{5120, 7168, 2},
                                        {6912, 1024, 13},
                                        {1304, 5120, 2},
                                        {640, 20480, 1}}) {
    if (IsUnderChecker() && in * out > 8'000'000) continue;
    MakeWeights(in, out);
    const Twin x = RandomTwin(most, in);
    const auto result = cuda_->Allocate(DType::kFloat32, most, out);
    const auto run = [&](int64_t first, int64_t rows, int tile, bool swiglu, bool adds) {
      const cuda::WidePlan plan = cuda::PlanDenseWideFixed(weight_->view(), rows, device_, tile);
      EXPECT_EQ(plan.chunks, chunks);
      (plan.shares > plan.cut ? was_shared : was_whole) = true;
      const size_t bytes = cuda::WidePartialBytes(plan);
      EXPECT_LE(bytes, cuda::WideMostPartialBytes(device_));
      const cuda::DeviceMemory partial(bytes + 16);
      SKEIN_CUDA(cudaMemset(partial.data(), 0xff, partial.bytes()));
      SKEIN_CUDA(cudaMemset(result->view().data, adds ? 0 : 0xff,
                            static_cast<size_t>(most * out) * sizeof(float)));
      Settle();
      WideCase c{rows, in, out};
      c.swiglu = swiglu;
      c.output = adds ? Output::kAdded : Output::kFloat;
      const Matrix to =
          MakeMatrix(result->view().data, DType::kFloat32, rows, swiglu ? out / 2 : out);
      cuda::ProductOperands operands = Operands(c, x.cuda->view().Rows(first, rows), to);
      operands.partial = partial.As<float>();
      cuda::DenseWideProduct(weight_->view(), operands, plan, Stream());
      cuda_->FinishStep();
      return Read(to, true);
    };
    for (const bool swiglu : {false, true}) {
      const int64_t width = swiglu ? out / 2 : out;
      const std::vector<float> all = run(0, most, -1, swiglu, false);
      const auto expect_same = [&](int64_t first, int64_t rows, int tile, bool adds) {
        const std::vector<float> some = run(first, rows, tile, swiglu, adds);
        ASSERT_EQ(std::memcmp(some.data(), all.data() + first * width, some.size() * sizeof(float)),
                  0)
            << rows << " rows from " << first << ", tile " << tile << ", " << in << " x " << out
            << ", swiglu " << swiglu << ", adds " << adds;
      };
      for (const int64_t rows :
           Values({1, 8, 17, 33, 64, 65, 96, 97, 128, 200, 256, 300, 513}, {1, 33, 97})) {
        for (const int64_t first : {int64_t{0}, int64_t{13}}) {
          expect_same(first, rows, -1, false);
          if (HasFatalFailure()) return;
        }
      }
      for (int tile = 0; tile < cuda::kNumDenseWideTiles; ++tile) {
        for (const int64_t rows : {int64_t{5}, int64_t{100}}) {
          expect_same(7, rows, tile, false);
          if (HasFatalFailure()) return;
        }
      }
      if (!swiglu) expect_same(0, 100, -1, true);
    }
  }
  EXPECT_TRUE(IsUnderChecker() || (was_shared && was_whole));
}

TEST_F(CudaDenseWideTest, OperandsThatCopiesCannotAddressAreRefused) {
  MakeWeights(512, 64);
  const Twin x = RandomTwin(64, 520);
  cuda::ProductOperands operands{};
  operands.x = x.cuda->view().As<__nv_bfloat16>();
  operands.x_stride = 512;
  operands.rows = 64;
  const Matrix weight = weight_->view();
  EXPECT_TRUE(cuda::DenseWideTakes(weight, operands, device_));
  operands.x += 4;
  EXPECT_FALSE(cuda::DenseWideTakes(weight, operands, device_));
  operands.x -= 4;
  operands.x_stride = 516;
  EXPECT_FALSE(cuda::DenseWideTakes(weight, operands, device_));
  operands.x_stride = 512;
  EXPECT_FALSE(cuda::DenseWideTakes(weight.Cols(0, 508), operands, device_));
  EXPECT_FALSE(cuda::DenseWideTakes(weight.Cols(4, 504), operands, device_));
  EXPECT_FALSE(cuda::DenseWideTakes(weight.Rows(0, 60), operands, device_));
  operands.swiglu = true;
  EXPECT_FALSE(cuda::DenseWideTakes(weight.Rows(0, 56), operands, device_));
  // GELU: four columns at a time, bfloat16.
  operands.swiglu = false;
  operands.gelu = true;
  operands.out_stride = 64;
  EXPECT_TRUE(cuda::DenseWideTakes(weight, operands, device_));
  operands.out_stride = 66;
  EXPECT_FALSE(cuda::DenseWideTakes(weight, operands, device_));
  operands.out_stride = 64;
  operands.out_is_float = true;
  EXPECT_FALSE(cuda::DenseWideTakes(weight, operands, device_));
}

}  // namespace
}  // namespace skein
