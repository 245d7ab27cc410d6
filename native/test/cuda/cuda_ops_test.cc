// Every CUDA op beside its CPU twin on random inputs over awkward shapes. Inputs are rounded to
// bfloat16 first, so that both start from the same numbers; outputs are poisoned, so that an
// element nobody wrote shows.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "cuda_twin.h"

namespace skein {
namespace {

TEST_F(CudaOpsTest, NormsOfBothKindsAgree) {
  for (const int64_t cols : {1, 7, 60, 80, 96, 160, 256, 1000, 3200, 5120, 12800}) {
    for (const int64_t rows : {1, 3, 17}) {
      for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
        const Twin x = RandomResidual(rows, cols, 3.0f), out = PoisonedTwin(rows, cols);
        const Twin weight = Parameters(1, cols, 0.2f, 1.0f), bias = Parameters(1, cols, 0.2f, 0.0f);
        const auto weights = [&](const std::unique_ptr<DeviceTensor>& w,
                                 const std::unique_ptr<DeviceTensor>& b) {
          return NormWeights{kind, w->view().As<const float>(),
                             kind == NormKind::kLayer ? b->view().As<const float>() : nullptr,
                             1e-6f};
        };
        cpu_->Norm(x.cpu->view(), weights(weight.cpu, bias.cpu), out.cpu->view());
        cuda_->Norm(x.cuda->view(), weights(weight.cuda, bias.cuda), out.cuda->view());
        ExpectClose(out, kRounding, Format("norm %lld x %lld", (long long)rows, (long long)cols));
      }
    }
  }
}

TEST_F(CudaOpsTest, ResidualAndNormAgree) {
  const auto single = MakeLocalGroup(1);
  for (const int64_t cols : {7, 80, 256, 3200, 5120}) {
    for (const int64_t rows : {1, 5, 33}) {
      for (const bool scaled : {false, true}) {
        const Twin partial = RandomResidual(rows, cols),
                   residual = RandomResidual(rows, cols, 2.0f), normed = PoisonedTwin(rows, cols),
                   weight = Parameters(1, cols, 0.2f, 1.0f), bias = Parameters(1, cols, 0.5f, 0.0f),
                   scale = Parameters(1, cols, 0.3f, 0.0f);
        const auto run = [&](Backend& backend, const std::unique_ptr<DeviceTensor> Twin::*side) {
          const NormWeights norm{NormKind::kRms, (weight.*side)->view().As<const float>(), nullptr,
                                 1e-5f};
          const Matrix out = (normed.*side)->view();
          backend.AllReduceResidualNorm(*single[0], (partial.*side)->view(),
                                        scaled ? (bias.*side)->view().As<const float>() : nullptr,
                                        scaled ? (scale.*side)->view().As<const float>() : nullptr,
                                        (residual.*side)->view(), &norm, &out);
        };
        run(*cpu_, &Twin::cpu);
        run(*cuda_, &Twin::cuda);
        ExpectClose(residual, 1e-6, "residual");
        ExpectClose(normed, 2 * kRounding, "normed");
      }
    }
  }
}

// In one kernel for many rows on Hopper, as product, residual and norm otherwise.
TEST_F(CudaFastTest, ProductsThatEndInTheResidualAgree) {
  const auto single = MakeLocalGroup(1);
  constexpr int64_t kIn = 640, kOut = 1280;
  std::vector<float> values = Random(kIn * kOut, 0.05f);
  RawLinear dense;
  dense.in_features = kIn;
  dense.out_features = kOut;
  dense.weight = MakeMatrix(values.data(), DType::kFloat32, kOut, kIn);
  std::vector<uint32_t> words(kIn * kOut / 8), zeros(kIn / 128 * kOut / 8);
  for (uint32_t& word : words) word = generator_();
  for (uint32_t& word : zeros) word = generator_();
  std::vector<float> scales = Random(kIn / 128 * kOut, 0.002f, 0.01f);
  RawLinear awq;
  awq.in_features = kIn;
  awq.out_features = kOut;
  awq.group_size = 128;
  awq.qweight = MakeMatrix(words.data(), DType::kInt32, kIn, kOut / 8);
  awq.qzeros = MakeMatrix(zeros.data(), DType::kInt32, kIn / 128, kOut / 8);
  awq.scales = MakeMatrix(scales.data(), DType::kFloat32, kIn / 128, kOut);
  for (const RawLinear& raw : {dense, awq}) {
    const auto cpu_linear = cpu_->PrepareLinear(raw, DType::kBFloat16),
               cuda_linear = fast_->PrepareLinear(raw, DType::kBFloat16);
    for (const int64_t rows : Values({1, 16, 48, 65, 300}, {1, 48, 300})) {
      for (const bool scaled : {false, true}) {
        for (const bool has_norm : {false, true}) {
          const Twin x = RandomTwin(rows, kIn), residual = RandomResidual(rows, kOut, 2.0f),
                     partial = PoisonedResidual(rows, kOut), normed = PoisonedTwin(rows, kOut),
                     weight = Parameters(1, kOut, 0.2f, 1.0f),
                     bias = Parameters(1, kOut, 0.5f, 0.0f),
                     scale = Parameters(1, kOut, 0.3f, 0.0f);
          const auto run = [&](Backend& backend, const PreparedLinear& linear,
                               const std::unique_ptr<DeviceTensor> Twin::*side) {
            const NormWeights norm{NormKind::kRms, (weight.*side)->view().As<const float>(),
                                   nullptr, 1e-5f};
            const Matrix out = (normed.*side)->view();
            const auto parameter = [&](const Twin& twin) {
              return scaled ? (twin.*side)->view().As<const float>() : nullptr;
            };
            backend.LinearResidualNorm(
                *single[0], linear, (x.*side)->view(),
                {(partial.*side)->view(), parameter(bias), parameter(scale),
                 (residual.*side)->view(), has_norm ? &norm : nullptr, has_norm ? &out : nullptr});
          };
          run(*cpu_, *cpu_linear, &Twin::cpu);
          run(*fast_, *cuda_linear, &Twin::cuda);
          fast_->FinishStep();
          const std::string what =
              Format("%lld rows, AWQ %d, scaled %d", static_cast<long long>(rows), raw.is_awq(),
                     static_cast<int>(scaled));
          ExpectClose(residual, raw.is_awq() ? kRounding : 1e-4, what + ", residual");
          if (has_norm) ExpectClose(normed, 2 * kRounding, what + ", normed");
        }
      }
    }
  }
}

// The bits of a row do not depend on how many there are, whichever kernel the width calls for.
TEST_F(CudaOpsTest, NormAndSwiGluRowsAreIndependent) {
  const auto single = MakeLocalGroup(1);
  for (const int64_t cols : {60, 80, 5120, 12800, 8200}) {
    constexpr int64_t kRows = 64;
    const Twin x = RandomResidual(kRows, cols), weight = Parameters(1, cols, 0.2f, 1.0f);
    const NormWeights norm{NormKind::kRms, weight.cuda->view().As<const float>(), nullptr, 1e-5f};
    const auto run = [&](int64_t rows) {
      const Twin residual = MakeTwin(std::vector<float>(static_cast<size_t>(kRows * cols), 0.25f),
                                     kRows, cols, DType::kFloat32);
      const Twin normed = PoisonedTwin(kRows, cols), product = PoisonedTwin(kRows, cols / 2);
      SKEIN_CUDA(cudaDeviceSynchronize());
      const Matrix out = normed.cuda->view().Rows(0, rows);
      cuda_->AllReduceResidualNorm(*single[0], x.cuda->view().Rows(0, rows), nullptr, nullptr,
                                   residual.cuda->view().Rows(0, rows), &norm, &out);
      cuda_->SwiGlu(x.cuda->view().Rows(0, rows), product.cuda->view().Rows(0, rows));
      cuda_->FinishStep();
      std::vector<float> first = Read(out.Rows(0, 1), true);
      for (const Matrix& more :
           {residual.cuda->view().Rows(0, 1), product.cuda->view().Rows(0, 1)}) {
        const std::vector<float> values = Read(more, true);
        first.insert(first.end(), values.begin(), values.end());
      }
      return first;
    };
    const std::vector<float> alone = run(1);
    for (const int64_t rows : {2, 17, 64}) EXPECT_EQ(run(rows), alone) << cols << " columns";
  }
}

// Tokens of the vocabulary's slice, of other ranks, and rows moved about.
TEST_F(CudaOpsTest, EmbeddingAndRowCopiesAgree) {
  for (const int64_t hidden : {5, 80, 256, 5120}) {
    std::vector<float> values = Random(100 * hidden);
    const Matrix host = MakeMatrix(values.data(), DType::kFloat32, 100, hidden);
    std::vector<BFloat16> rounded(values.begin(), values.end());
    const Matrix host16 = MakeMatrix(rounded.data(), DType::kBFloat16, 100, hidden);
    const auto cpu_table = cpu_->Upload(host), cuda_table = cuda_->Upload(host16);
    const std::vector<int32_t> ids = {0, 49, 50, 149, 150, 200, 77}, slots(7, 0), positions(7, 0),
                               block_tables(1, 0);
    const std::vector<int64_t> mapping(7, -1);
    const std::vector<SequenceSpan> spans = {{0, 7, 7, 0}};
    StepMetadata metadata;
    metadata.token_ids = ids;
    metadata.slot_of_row = slots;
    metadata.positions = positions;
    metadata.slot_mapping = mapping;
    metadata.spans = spans;
    metadata.block_tables = block_tables;
    metadata.max_blocks_per_sequence = 1;
    const Twin out = PoisonedResidual(7, hidden), moved = PoisonedResidual(4, hidden);
    const std::vector<int32_t> from = {6, 0, 3, 3}, to = {2, 0, 3, 1};
    const auto run = [&](Backend& backend, const Matrix& table,
                         const std::unique_ptr<DeviceTensor> Twin::*side) {
      backend.BeginStep(metadata);
      backend.EmbedTokens(table, 50, 100, (out.*side)->view());
      backend.ScatterRows((out.*side)->view(), from, to, (moved.*side)->view());
    };
    run(*cpu_, cpu_table->view(), &Twin::cpu);
    run(*cuda_, cuda_table->view(), &Twin::cuda);
    ExpectClose(out, 0, "embedding");
    ExpectClose(moved, 0, "moved rows");
  }
}

// Weights that the device makes are those that the host makes, bit for bit, whatever the cut.
TEST_F(CudaOpsTest, RandomTensorsAreTheHosts) {
  RandomBlock block;
  block.key = 0x123456789abcdefull;
  block.centre = 0.5f;
  block.spread = 0.0346f;
  block.first_row = 3;
  block.first_col = 1000;
  block.rows = 37;
  block.cols = 2100;
  block.dest_row = 2;
  block.dest_col = 5;
  const auto tensor = cuda_->MakeRandomTensor(DType::kFloat32, 40, 2110, {&block, 1});
  const std::vector<float> values = Read(tensor->view(), true);
  const auto rounded = cuda_->MakeRandomTensor(DType::kBFloat16, 40, 2110, {&block, 1});
  const std::vector<float> rounded_values = Read(rounded->view(), true);
  for (int64_t row = 0; row < 40; ++row) {
    for (int64_t col = 0; col < 2110; ++col) {
      const int64_t r = row - block.dest_row, c = col - block.dest_col;
      float expected = 0;
      if (r >= 0 && r < block.rows && c >= 0 && c < block.cols) {
        const uint64_t key = RowKey(block.key, block.first_row + r);
        const float part = block.spread * UnitOf(RandomBits(key, block.first_col + c));
        expected = block.centre + part;
      }
      const auto at = static_cast<size_t>(row * 2110 + col);
      ASSERT_EQ(values[at], expected) << row << ", " << col;
      ASSERT_EQ(rounded_values[at], static_cast<float>(BFloat16(expected))) << row << ", " << col;
    }
  }
}

TEST_F(CudaOpsTest, DenseProductsAgree) {
  const int64_t shapes[][2] = {{16, 16},   {60, 180},  {80, 240},    {96, 373},   {147, 80},
                               {588, 160}, {352, 128}, {1024, 3072}, {5120, 7168}};
  for (const auto& [in, out_features] : shapes) {
    for (const int64_t rows : Values({1, 2, 7, 16, 64, 130}, {1, 64})) {
      for (const bool has_bias : {false, true}) {
        std::vector<float> weight = Random(in * out_features, 0.05f),
                           bias = Random(out_features, 0.5f);
        RawLinear raw;
        raw.in_features = in;
        raw.out_features = out_features;
        raw.weight = MakeMatrix(weight.data(), DType::kFloat32, out_features, in);
        if (has_bias) raw.bias = MakeMatrix(bias.data(), DType::kFloat32, 1, out_features);
        const auto cpu_linear = cpu_->PrepareLinear(raw, DType::kBFloat16);
        const auto cuda_linear = cuda_->PrepareLinear(raw, DType::kBFloat16);
        const Twin x = RandomTwin(rows, in), out = PoisonedTwin(rows, out_features);
        for (const Activation activation : {Activation::kNone, Activation::kGeluErf}) {
          cpu_->Linear(*cpu_linear, x.cpu->view(), activation, out.cpu->view());
          cuda_->Linear(*cuda_linear, x.cuda->view(), activation, out.cuda->view());
          ExpectClose(out, 2 * kRounding,
                      Format("product %lld x %lld x %lld", (long long)rows, (long long)in,
                             (long long)out_features));
        }
      }
    }
  }
}

TEST_F(CudaOpsTest, SwiGluAgrees) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const int64_t width : {1, 12, 88, 352, 3456}) {
      const Twin x = RandomTwin(9, 2 * width, 2.0f, type), out = PoisonedTwin(9, width);
      cpu_->SwiGlu(x.cpu->view(), out.cpu->view());
      cuda_->SwiGlu(x.cuda->view(), out.cuda->view());
      ExpectClose(out, kRounding, Format("swiglu of %s", Name(type)));
    }
  }
}

// More rows than a grid's second dimension takes.
TEST_F(CudaFastTest, OpsTakeMoreRowsThanTheGreatestStep) {
  if (IsUnderChecker()) GTEST_SKIP() << "the kernels are those of fewer rows";
  constexpr int64_t kRows = 66'000, kIn = 128, kOut = 48;
  std::vector<float> weight = Random(kOut * kIn, 0.05f);
  RawLinear raw;
  raw.in_features = kIn;
  raw.out_features = kOut;
  raw.weight = MakeMatrix(weight.data(), DType::kFloat32, kOut, kIn);
  std::vector<int32_t> words(static_cast<size_t>(kIn * kOut / 8)), zeros(kOut / 8, 0x77777777);
  for (int32_t& word : words) word = static_cast<int32_t>(generator_());
  std::vector<float> scales(kOut, 0.01f);
  RawLinear awq;
  awq.in_features = kIn;
  awq.out_features = kOut;
  awq.group_size = kIn;
  awq.qweight = MakeMatrix(words.data(), DType::kInt32, kIn, kOut / 8);
  awq.qzeros = MakeMatrix(zeros.data(), DType::kInt32, 1, kOut / 8);
  awq.scales = MakeMatrix(scales.data(), DType::kFloat32, 1, kOut);
  const Twin x = RandomTwin(kRows, kIn), sums = RandomResidual(kRows, kIn),
             residual = RandomResidual(kRows, kIn), product = PoisonedTwin(kRows, kIn / 2),
             normed = PoisonedTwin(kRows, kIn), norm_weight = Parameters(1, kIn, 0.2f, 1.0f);
  const auto single = MakeLocalGroup(1);
  const auto run = [&](Backend& backend, const std::unique_ptr<DeviceTensor> Twin::*side) {
    const NormWeights norm{NormKind::kRms, (norm_weight.*side)->view().As<const float>(), nullptr,
                           1e-5f};
    const Matrix out = (normed.*side)->view();
    backend.AllReduceResidualNorm(*single[0], (sums.*side)->view(), nullptr, nullptr,
                                  (residual.*side)->view(), &norm, &out);
    backend.SwiGlu((sums.*side)->view(), (product.*side)->view());
  };
  run(*cpu_, &Twin::cpu);
  run(*fast_, &Twin::cuda);
  fast_->FinishStep();
  ExpectClose(residual, 1e-6, "residual");
  ExpectClose(normed, 2 * kRounding, "norm");
  ExpectClose(product, kRounding, "SwiGLU");
  for (const RawLinear* linear : {&raw, &awq}) {
    const auto on_cpu = cpu_->PrepareLinear(*linear, DType::kBFloat16);
    for (Backend* backend : {fast_.get(), cuda_.get()}) {
      const auto on_device = backend->PrepareLinear(*linear, DType::kBFloat16);
      const Twin out = PoisonedTwin(kRows, kOut);
      const Activation activation = linear == &raw ? Activation::kGeluErf : Activation::kNone;
      cpu_->Linear(*on_cpu, x.cpu->view(), activation, out.cpu->view());
      backend->Linear(*on_device, x.cuda->view(), activation, out.cuda->view());
      backend->FinishStep();
      ExpectClose(out, 2 * kRounding, linear == &raw ? "product and GELU" : "AWQ product");
    }
  }
}

TEST_F(CudaOpsTest, VisionOpsAgree) {
  std::vector<std::array<int64_t, 5>> cases = {{5, 16, 8, 14, 2},
                                               {3, 20, 4, 14, 2},
                                               {4, 16, 6, 14, 2},
                                               {5, 32, 16, 14, 2},
                                               {7, 128, 32, 14, 2}};
  // As many rows as the greatest step's tiles have, and more than 65,535.
  if (!IsUnderChecker()) cases.push_back({1, 16, 16, 2, 257});
  for (const auto& [heads, head_dim, grid, patch, tiles] : cases) {
    const int64_t side = grid * patch, patches = grid * grid, tokens = patches + 1,
                  hidden = heads * head_dim;
    std::vector<uint8_t> pixels(static_cast<size_t>(tiles * side * side * 3));
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(generator_());
    const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    const Twin columns = PoisonedTwin(tiles * patches, 3 * patch * patch),
               embedded = RandomResidual(tiles * patches, hidden),
               assembled = PoisonedResidual(tiles * tokens, hidden),
               qkv = RandomTwin(tiles * tokens, 3 * hidden),
               attention = PoisonedTwin(tiles * tokens, hidden),
               shuffled = PoisonedResidual(tiles * patches / 4, 4 * hidden),
               class_row = Parameters(1, hidden, 1, 0),
               position_rows = Parameters(tokens, hidden, 1, 0),
               q_weight = Parameters(1, hidden, 0.2f, 1), k_weight = Parameters(1, hidden, 0.2f, 1);
    const auto run = [&](Backend& backend, const std::unique_ptr<DeviceTensor> Twin::*at) {
      backend.PixelsToPatches(pixels.data(), tiles, side, patch, mean, std, (columns.*at)->view());
      backend.AssembleVisionTokens(
          (embedded.*at)->view(), (class_row.*at)->view().As<const float>(),
          (position_rows.*at)->view().As<const float>(), tiles, (assembled.*at)->view());
      const auto sums = backend.Allocate(DType::kFloat32, tiles * tokens, 2);
      backend.QkSumSquares((qkv.*at)->view(), heads, head_dim, sums->view());
      backend.ApplyQkNorm((qkv.*at)->view(), sums->view(), (q_weight.*at)->view().As<const float>(),
                          (k_weight.*at)->view().As<const float>(), heads, head_dim, hidden, 1e-6f);
      backend.VisionAttention((qkv.*at)->view(), tiles, tokens, heads, head_dim,
                              (attention.*at)->view());
      backend.PixelShuffle((assembled.*at)->view(), tiles, grid, 2, (shuffled.*at)->view());
      backend.FinishStep();
    };
    run(*cpu_, &Twin::cpu);
    run(*cuda_, &Twin::cuda);
    ExpectClose(columns, kRounding, "patches");
    ExpectClose(assembled, 1e-6, "vision tokens");
    ExpectClose(qkv, kRounding, "q/k norm");
    ExpectClose(attention, 4 * kRounding, "vision attention");
    ExpectClose(shuffled, 1e-6, "pixel shuffle");
  }
}

// The device's choice is the CPU sampler's, greedy and under noise, whatever the cut of the
// vocabulary.
TEST_F(CudaOpsTest, SamplersChooseAlike) {
  constexpr int64_t kVocab = 5003, kRows = 6;
  const auto single = MakeLocalGroup(1);
  for (const auto& [start, valid] :
       {std::pair<int64_t, int64_t>{0, 5003}, {1, 4999}, {2502, 2501}}) {
    const SamplerShape shape{8, kVocab, start, valid, 20};
    const auto cpu_sampler = cpu_->MakeSampler(shape), cuda_sampler = cuda_->MakeSampler(shape);
    std::vector<int32_t> slots, prompt = {1, 2, 3};
    for (int32_t slot = 0; slot < kRows; ++slot) {
      SamplingParams params;
      params.temperature = slot % 2 == 0 ? 0.0f : 0.3f * static_cast<float>(slot);
      params.seed = 77 + static_cast<uint64_t>(slot) * 0x9e3779b97f4a7c15ull;
      params.choice_index = static_cast<uint32_t>(slot);
      if (slot == 4) params.repetition_penalty = 1.3f;
      if (slot == 5) params.top_p = 0.8f;
      cpu_sampler->BeginSequence(slot, params, prompt, 2);
      cuda_sampler->BeginSequence(slot, params, prompt, 2);
      slots.push_back(slot);
    }
    for (int step = 0; step < 20; ++step) {
      std::vector<float> values = Random(kRows * valid, 2.0f);
      values[static_cast<size_t>(step)] = std::numeric_limits<float>::quiet_NaN();
      Twin logits = {cpu_->Allocate(DType::kFloat32, kRows, valid),
                     cuda_->Allocate(DType::kFloat32, kRows, valid)};
      std::memcpy(logits.cpu->view().data, values.data(), values.size() * sizeof(float));
      cuda::CopyAndWait(logits.cuda->view().data, values.data(), values.size() * sizeof(float));
      std::vector<SampledToken> expected, actual;
      cpu_sampler->Sample(logits.cpu->view(), slots, *single[0], &expected);
      cuda_sampler->Sample(logits.cuda->view(), slots, *single[0], &actual);
      ASSERT_EQ(expected.size(), actual.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(expected[i].token_id, actual[i].token_id) << "row " << i << ", step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace skein
