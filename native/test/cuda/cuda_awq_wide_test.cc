// The AWQ product of many rows beside the plain loop: every tile, whole pieces and cut ones, ragged
// rows and columns, inputs that begin inside a group, gate and up in one kernel, biases, strides.
#include <algorithm>

#include "awq_weights.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda_twin.h"

namespace skein {
namespace {

struct WideCase {
  int64_t rows, in, out;
  int64_t offset = 0;
  bool has_bias = false, swiglu = false, out_is_float = false;
  int64_t x_padding = 0, out_padding = 0;
  // As PlanAwqWide takes them, and what the plan believes of the GPU.
  int tile = -1, clusters = 0, multiprocessors = 132;
};

class CudaAwqWideTest : public CudaHopperTest {
 protected:
  static cuda::DeviceMemory Upload(const void* values, size_t bytes) {
    cuda::DeviceMemory memory(bytes);
    cuda::CopyAndWait(memory.data(), values, bytes);
    return memory;
  }

  void MakeWeights(const WideCase& c) {
    packed_ = std::make_unique<PackedAwq>(c.in, c.out, c.offset, generator_);
    weights_ = packed_->weights;
    bias_values_ = Random(c.out, 0.5f);
    bias_ = Upload(bias_values_.data(), bias_values_.size() * 4);
  }

  // The plain loop's sums, and what follows them, on the host.
  std::vector<float> Expected(const WideCase& c, const __nv_bfloat16* x, int64_t x_stride) {
    const auto reference = cuda_->Allocate(DType::kFloat32, c.rows, c.out);
    cuda::AwqReference(weights_, x, x_stride, c.rows, reference->view().As<float>(), Stream());
    cuda_->FinishStep();
    std::vector<float> sums = Read(reference->view(), true);
    const auto out = static_cast<size_t>(c.out);
    if (c.has_bias) {
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += bias_values_[i % out];
    }
    if (!c.swiglu) return sums;
    std::vector<float> values(sums.size() / 2);
    for (size_t i = 0; i < values.size(); ++i) {
      const float gate = sums[i / (out / 2) * out + i % (out / 2)];
      values[i] =
          gate / (1.0f + std::exp(-gate)) * sums[i / (out / 2) * out + out / 2 + i % (out / 2)];
    }
    return values;
  }

  void ExpectAgrees(const WideCase& c) {
    const std::string what = Format(
        "%lld rows, %lld x %lld, offset %lld, bias %d, swiglu %d, float %d, tile %d, clusters %d",
        (long long)c.rows, (long long)c.in, (long long)c.out, (long long)c.offset, c.has_bias,
        c.swiglu, c.out_is_float, c.tile, c.clusters);
    SCOPED_TRACE(what);
    // Rows that do not exist, and inputs beside them, are NaN: they must not be read, or not count.
    const int64_t x_stride = c.in + c.x_padding, width = c.swiglu ? c.out / 2 : c.out,
                  out_stride = width + c.out_padding;
    const Twin x = PoisonedTwin(c.rows + 3, x_stride);
    std::vector<BFloat16> values;
    for (const float value : Random(c.rows * c.in)) values.emplace_back(value);
    SKEIN_CUDA(cudaMemcpy2D(x.cuda->view().data, static_cast<size_t>(x_stride) * 2, values.data(),
                            static_cast<size_t>(c.in) * 2, static_cast<size_t>(c.in) * 2,
                            static_cast<size_t>(c.rows), cudaMemcpyHostToDevice));
    const DType out_type = c.out_is_float ? DType::kFloat32 : DType::kBFloat16;
    const auto out = cuda_->Allocate(out_type, c.rows + 2, out_stride);
    SKEIN_CUDA(cudaMemset(out->view().data, 0xff,
                          static_cast<size_t>((c.rows + 2) * out_stride) * SizeOf(out_type)));
    Settle();

    cuda::DeviceTraits device = cuda::CurrentDeviceTraits();
    device.multiprocessors = c.multiprocessors;
    const cuda::WidePlan plan = cuda::PlanAwqWide(weights_, c.rows, device, c.tile, c.clusters);
    const size_t bytes = cuda::WidePartialBytes(plan);
    EXPECT_LE(bytes, cuda::WideMostPartialBytes(device));
    const cuda::DeviceMemory partial(bytes + 16);
    SKEIN_CUDA(cudaMemset(partial.data(), 0xff, partial.bytes()));
    Settle();
    cuda::ProductOperands operands{};
    operands.x = x.cuda->view().As<__nv_bfloat16>();
    operands.x_stride = x_stride;
    operands.rows = c.rows;
    operands.bias = c.has_bias ? bias_.As<float>() : nullptr;
    operands.out = out->view().data;
    operands.out_is_float = c.out_is_float;
    operands.out_stride = out_stride;
    operands.swiglu = c.swiglu;
    operands.partial = partial.As<float>();
    ASSERT_TRUE(cuda::AwqWideTakes(weights_, operands, device));
    cuda::AwqWideProduct(weights_, operands, plan, Stream());
    ASSERT_NO_THROW(cuda_->FinishStep());

    // One sum of products with weights that are off by half a bfloat16 unit or two.
    ExpectOnlyThese(out->view(), c.rows, width, Expected(c, operands.x, x_stride), kRounding);
  }

  // out float32 [rows, columns], without SwiGLU; added to the residual where there is one.
  std::vector<float> Multiply(const WideCase& c, const Twin& x,
                              const std::vector<float>* residual = nullptr,
                              const float* scale = nullptr) {
    const cuda::DeviceTraits device = cuda::CurrentDeviceTraits();
    const cuda::WidePlan plan = cuda::PlanAwqWide(weights_, c.rows, device, c.tile, c.clusters);
    const cuda::DeviceMemory partial(cuda::WidePartialBytes(plan) + 16);
    SKEIN_CUDA(cudaMemset(partial.data(), 0xff, partial.bytes()));
    const auto out = cuda_->Allocate(DType::kFloat32, c.rows, c.out);
    const auto bytes = static_cast<size_t>(c.rows * c.out) * sizeof(float);
    SKEIN_CUDA(cudaMemset(out->view().data, 0xff, bytes));
    Settle();
    if (residual != nullptr) cuda::CopyAndWait(out->view().data, residual->data(), bytes);
    cuda::ProductOperands operands{};
    operands.x = x.cuda->view().As<__nv_bfloat16>();
    operands.x_stride = x.cuda->view().stride;
    operands.rows = c.rows;
    operands.bias = c.has_bias ? bias_.As<float>() : nullptr;
    operands.out = out->view().data;
    operands.out_is_float = true;
    operands.out_stride = c.out;
    operands.adds = residual != nullptr;
    operands.scale = scale;
    operands.partial = partial.As<float>();
    EXPECT_TRUE(cuda::AwqWideTakes(weights_, operands, device));
    cuda::AwqWideProduct(weights_, operands, plan, Stream());
    cuda_->FinishStep();
    return Read(out->view(), true);
  }

  static cuda::Stream& Stream() { return *static_cast<cuda::Stream*>(cuda_->stream()); }

  std::unique_ptr<PackedAwq> packed_;
  cuda::AwqWeights weights_{};
  cuda::DeviceMemory bias_;
  std::vector<float> bias_values_;
};

TEST_F(CudaAwqWideTest, AgreesForManyRows) {
  const WideCase base{0, 1280, 1040};
  MakeWeights(base);
  for (const int64_t rows : {17, 31, 32, 33, 64, 65, 96, 100, 128, 129, 192, 200, 256, 257, 700}) {
    for (const bool out_is_float : {false, true}) {
      WideCase c = base;
      c.rows = rows;
      c.out_is_float = out_is_float;
      ExpectAgrees(c);
    }
  }
}

TEST_F(CudaAwqWideTest, AgreesForEveryTile) {
  const WideCase base{0, 1536, 1312, 0, true};
  MakeWeights(base);
  for (int tile = 0; tile < cuda::kNumFreeWideTiles; ++tile) {
    for (const int64_t rows : Values({1, 9, 64, 150, 300}, {9, 150})) {
      for (const bool swiglu : {false, true}) {
        for (const bool out_is_float : {false, true}) {
          WideCase c = base;
          c.rows = rows;
          c.swiglu = swiglu;
          c.out_is_float = out_is_float;
          c.tile = tile;
          ExpectAgrees(c);
        }
      }
    }
  }
}

// Few clusters have whole pieces and shares of cut ones; many have shares of a step or two.
TEST_F(CudaAwqWideTest, AgreesHoweverPiecesAreCut) {
  const WideCase base{0, 2600, 2080, 24, true};
  MakeWeights(base);
  for (const int64_t clusters : Values({1, 2, 3, 4, 5, 7, 13, 40, 66}, {1, 7, 66})) {
    for (const int64_t rows : Values({40, 128, 220, 520}, {40, 220})) {
      for (const bool swiglu : {false, true}) {
        WideCase c = base;
        c.rows = rows;
        c.swiglu = swiglu;
        c.out_is_float = swiglu;
        c.clusters = static_cast<int>(clusters);
        ExpectAgrees(c);
      }
    }
  }
}

TEST_F(CudaAwqWideTest, AgreesOverShapes) {
  const WideCase shapes[] = {{40, 256, 96},     {64, 192, 64, 0, true}, {70, 200, 40, 56},
                             {33, 768, 8},      {90, 3456, 1280, 24},   {64, 5120, 1000, 120, true},
                             {65, 333, 24, 16}, {200, 64, 136, 32},     {256, 1280, 5120, 0, true},
                             {48, 6912, 5120},  {300, 6912, 512, 104},  {64, 5120, 1792, 0, true}};
  for (const WideCase& shape : shapes) {
    WideCase c = shape;
    // Rows begin at 16 bytes.
    c.x_padding = (c.in + 7) / 8 * 8 - c.in;
    MakeWeights(c);
    ExpectAgrees(c);
    c.out_is_float = true;
    ExpectAgrees(c);
    if (c.out % 32 != 0) continue;
    c.swiglu = true;
    ExpectAgrees(c);
    c.out_is_float = false;
    ExpectAgrees(c);
  }
}

TEST_F(CudaAwqWideTest, StridesAreRespected) {
  const WideCase base{100, 520, 160, 0, true};
  MakeWeights(base);
  for (const int64_t x_padding : {0, 8, 200}) {
    for (const int64_t out_padding : {1, 2, 3, 4, 64}) {
      for (const bool swiglu : {false, true}) {
        for (const bool out_is_float : {false, true}) {
          WideCase c = base;
          c.x_padding = x_padding;
          c.out_padding = out_padding;
          c.swiglu = swiglu;
          c.out_is_float = out_is_float;
          ExpectAgrees(c);
        }
      }
    }
  }
}

TEST_F(CudaAwqWideTest, AgreesForLongPrompts) {
  const WideCase base{1024, 5120, 2048};
  MakeWeights(base);
  ExpectAgrees(base);
  WideCase c = base;
  c.swiglu = true;
  c.rows = 1500;
  ExpectAgrees(c);
}

// The order of partial sums does not depend on which block is first.
TEST_F(CudaAwqWideTest, BitsAreTheSameEveryTime) {
  const WideCase base{60, 6912, 1024};
  MakeWeights(base);
  const Twin x = RandomTwin(base.rows, base.in);
  std::vector<float> first;
  for (int turn = 0; turn < 20; ++turn) {
    const std::vector<float> values = Multiply(base, x);
    if (turn == 0) first = values;
    ASSERT_EQ(std::memcmp(first.data(), values.data(), values.size() * sizeof(float)), 0)
        << "turn " << turn;
  }
}

TEST_F(CudaAwqWideTest, AddsToTheResidualByEveryTile) {
  const WideCase base{150, 1288, 1056, 0, true};
  MakeWeights(base);
  const Twin x = RandomTwin(base.rows, base.in);
  const std::vector<float> residual = Random(base.rows * base.out, 3.0f);
  const std::vector<float> scales = Random(base.out, 1.0f);
  const cuda::DeviceMemory scale = Upload(scales.data(), scales.size() * sizeof(float));
  for (int tile = 0; tile < cuda::kNumFreeWideTiles; ++tile) {
    for (const int clusters : {1, 0}) {
      WideCase c = base;
      c.tile = tile;
      c.clusters = clusters;
      const std::vector<float> sums = Multiply(c, x);
      const std::vector<float> added = Multiply(c, x, &residual, scale.As<float>());
      for (size_t i = 0; i < sums.size(); ++i) {
        ASSERT_EQ(added[i], std::fmaf(sums[i], scales[i % scales.size()], residual[i]))
            << "tile " << tile << ", clusters " << clusters << ", at " << i;
      }
    }
  }
}

TEST_F(CudaAwqWideTest, OperandsThatCopiesCannotAddressAreRefused) {
  const WideCase base{64, 512, 64};
  MakeWeights(base);
  const Twin x = RandomTwin(base.rows, base.in + 8);
  const cuda::DeviceTraits device = cuda::CurrentDeviceTraits();
  cuda::ProductOperands operands{};
  operands.x = x.cuda->view().As<__nv_bfloat16>();
  operands.x_stride = base.in;
  operands.rows = base.rows;
  EXPECT_TRUE(cuda::AwqWideTakes(weights_, operands, device));
  operands.x += 4;
  EXPECT_FALSE(cuda::AwqWideTakes(weights_, operands, device));
  operands.x -= 4;
  operands.x_stride = base.in + 4;
  EXPECT_FALSE(cuda::AwqWideTakes(weights_, operands, device));
  operands.x_stride = base.in;
  weights_.group_offset = 4;
  EXPECT_FALSE(cuda::AwqWideTakes(weights_, operands, device));
}

// Prompts have any number of rows. A plan that only filled up as few as it could took tiles of 32
// rows for 1,345, more than twice as long as by tiles of 256.
TEST(AwqWidePlan, TakesLargeTilesWhateverTheNumberOfRows) {
  cuda::AwqWeights weights{};
  weights.in_features = 5120;
  weights.out_features = 55296;
  const cuda::DeviceTraits device{132, cuda::kWideSharedBytes, true};
  for (int64_t rows = 1; rows <= 128; ++rows) {
    const int tile = cuda::PlanAwqWide(weights, rows, device).tile;
    EXPECT_EQ(cuda::kWideTiles[tile].rows, (rows + 31) / 32 * 32) << rows << " rows";
  }
  for (int64_t rows = 129; rows <= 9000; ++rows) {
    const cuda::WideTile tile = cuda::kWideTiles[cuda::PlanAwqWide(weights, rows, device).tile];
    EXPECT_GE(tile.rows, rows < 384 ? 96 : 128) << rows << " rows";
    EXPECT_LT((rows + tile.rows - 1) / tile.rows * tile.rows - rows, 256) << rows << " rows";
  }
}

}  // namespace
}  // namespace skein
