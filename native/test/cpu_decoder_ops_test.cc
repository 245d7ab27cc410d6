// The decoder ops of the CPU back end against plain loops, and the numeric contract over batches,
// chunks and threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

using cpu::InstructionClass;

constexpr int64_t kWidths[] = {1, 7, 12, 17, 54, 97, 60, 80, 160, 896};
constexpr double kTolerance = 2e-6;

class CpuDecoderOpsTest : public testing::TestWithParam<InstructionClass> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu::MakeCpuBackendOfClass(2, GetParam());

  void UseThreads(int threads) { backend_ = cpu::MakeCpuBackendOfClass(threads, GetParam()); }
};

std::vector<float> RandomVector(Random& random, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = random.Normal();
  return values;
}

// ---- norms and element-wise ops ----

TEST_P(CpuDecoderOpsTest, NormsEqualPlainLoops) {
  Random random(1);
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
    for (const int64_t width : kWidths) {
      const std::vector<float> weight = RandomVector(random, width);
      const std::vector<float> bias = RandomVector(random, width);
      const NormWeights norm{kind, weight.data(), bias.data(), 1e-6f};
      for (const int64_t rows : {1, 3, 64}) {
        const HostMatrix x = RandomMatrix(random, rows, width, 3, 2);
        HostMatrix out = PoisonedMatrix(rows, width, 1);
        backend_->Norm(x.view(), norm, out.view());
        ExpectNear(out, ReferenceNorm(x, norm), kTolerance * 4, "norm of " + std::to_string(width));
        HostMatrix alone = PoisonedMatrix(1, width);
        backend_->Norm(x.view().Rows(rows - 1, 1), norm, alone.view());
        EXPECT_TRUE(SameBits(alone.view(), 0, out.view(), rows - 1));
      }
    }
  }
}

TEST_P(CpuDecoderOpsTest, LayerNormIgnoresALargeOffset) {
  // Two passes: a one-pass variance loses everything here.
  Random random(2);
  HostMatrix x = RandomMatrix(random, 2, 97);
  for (int64_t c = 0; c < 97; ++c) x.Set(1, c, x.At(1, c) + 4096);
  const std::vector<float> weight(97, 1.0f), bias(97, 0.0f);
  const NormWeights norm{NormKind::kLayer, weight.data(), bias.data(), 1e-5f};
  HostMatrix out = PoisonedMatrix(2, 97);
  backend_->Norm(x.view(), norm, out.view());
  ExpectNear(out, ReferenceNorm(x, norm), 1e-3, "layer norm around 4096");
}

TEST_P(CpuDecoderOpsTest, SwiGluEqualsPlainLoops) {
  Random random(3);
  for (const int64_t width : kWidths) {
    for (const int64_t rows : {1, 5, 64}) {
      const HostMatrix x = RandomMatrix(random, rows, 2 * width, 5, 3);
      HostMatrix out = PoisonedMatrix(rows, width, 1);
      backend_->SwiGlu(x.view(), out.view());
      ExpectNear(out, ReferenceSwiGlu(x), kTolerance, "SwiGLU of " + std::to_string(width));
      HostMatrix alone = PoisonedMatrix(1, width);
      backend_->SwiGlu(x.view().Rows(rows - 1, 1), alone.view());
      EXPECT_TRUE(SameBits(alone.view(), 0, out.view(), rows - 1));
    }
  }
}

TEST_P(CpuDecoderOpsTest, SwiGluSaturates) {
  HostMatrix x(1, 8);
  const float gates[] = {-1e30f, -200, -90, 90, 200, 1e30f, 0, -0.0f};
  HostMatrix gate_up(1, 16);
  for (int64_t c = 0; c < 8; ++c) {
    gate_up.Set(0, c, gates[c]);
    gate_up.Set(0, 8 + c, 1);
  }
  HostMatrix out = PoisonedMatrix(1, 8);
  backend_->SwiGlu(gate_up.view(), out.view());
  for (int64_t c = 0; c < 3; ++c) EXPECT_NEAR(out.At(0, c), 0, 1e-6) << gates[c];
  for (int64_t c = 3; c < 6; ++c) EXPECT_EQ(out.At(0, c), gates[c]);
  for (int64_t c = 6; c < 8; ++c) EXPECT_EQ(out.At(0, c), 0);
}

TEST_P(CpuDecoderOpsTest, GeluFollowsErf) {
  // One input feature with weight 1 shows the activation itself, over the seams of its
  // approximation too.
  constexpr int64_t kPoints = 2001;
  HostMatrix one(1, 1);
  one.Set(0, 0, 1);
  RawLinear raw;
  raw.in_features = raw.out_features = 1;
  raw.weight = one.view();
  const auto linear = backend_->PrepareLinear(raw, DType::kFloat32);
  HostMatrix x(kPoints, 1), expected(kPoints, 1);
  for (int64_t i = 0; i < kPoints; ++i) {
    const float v = static_cast<float>(i - 1000) * 0.008f;
    x.Set(i, 0, v);
    expected.Set(i, 0, static_cast<float>(0.5 * v * (1 + std::erf(v / std::sqrt(2.0)))));
  }
  HostMatrix out = PoisonedMatrix(kPoints, 1);
  backend_->Linear(*linear, x.view(), Activation::kGeluErf, out.view());
  ExpectNear(out, expected, 4e-7, "GELU");
}

TEST_P(CpuDecoderOpsTest, AllReduceResidualNormAddsOnceAndInOrder) {
  Random random(4);
  const auto group = MakeLocalGroup(1);
  for (const int64_t width : {7, 60, 897}) {
    const std::vector<float> bias = RandomVector(random, width);
    const std::vector<float> scale = RandomVector(random, width);
    const std::vector<float> weight = RandomVector(random, width);
    const NormWeights norm{NormKind::kRms, weight.data(), nullptr, 1e-6f};
    for (int variant = 0; variant < 8; ++variant) {
      const float* b = variant & 1 ? bias.data() : nullptr;
      const float* s = variant & 2 ? scale.data() : nullptr;
      const HostMatrix partial = RandomMatrix(random, 5, width);
      HostMatrix residual = RandomMatrix(random, 5, width);
      HostMatrix expected(5, width);
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t c = 0; c < width; ++c) {
          const size_t i = static_cast<size_t>(c);
          const double sum = partial.At(r, c) + (b == nullptr ? 0.0 : bias[i]);
          expected.Set(
              r, c, static_cast<float>(residual.At(r, c) + sum * (s == nullptr ? 1.0 : scale[i])));
        }
      }
      HostMatrix normed = PoisonedMatrix(5, width, 1);
      const Matrix normed_view = normed.view();
      const bool with_norm = variant & 4;
      backend_->AllReduceResidualNorm(*group[0], partial.view(), b, s, residual.view(),
                                      with_norm ? &norm : nullptr,
                                      with_norm ? &normed_view : nullptr);
      ExpectNear(residual, expected, kTolerance, "residual");
      if (with_norm) ExpectNear(normed, ReferenceNorm(residual, norm), kTolerance * 4, "normed");
    }
  }
}

TEST_P(CpuDecoderOpsTest, AllReduceResidualNormSumsTheRanks) {
  constexpr int kRanks = 3;
  constexpr int64_t kRows = 4, kWidth = 33;
  Random random(5);
  auto group = MakeLocalGroup(kRanks);
  std::vector<HostMatrix> partial, residual;
  for (int rank = 0; rank < kRanks; ++rank) {
    partial.push_back(RandomMatrix(random, kRows, kWidth));
    residual.emplace_back(kRows, kWidth);
  }
  HostMatrix expected(kRows, kWidth);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < kWidth; ++c) {
      const float start = random.Normal();
      for (HostMatrix& m : residual) m.Set(r, c, start);
      expected.Set(r, c, partial[0].At(r, c) + partial[1].At(r, c) + partial[2].At(r, c) + start);
    }
  }
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto backend = cpu::MakeCpuBackendOfClass(1, GetParam());
      const size_t i = static_cast<size_t>(rank);
      backend->AllReduceResidualNorm(*group[i], partial[i].view(), nullptr, nullptr,
                                     residual[i].view(), nullptr, nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const HostMatrix& m : residual) {
    ExpectNear(m, expected, kTolerance, "sum of the ranks");
    for (int64_t r = 0; r < kRows; ++r) {
      EXPECT_TRUE(SameBits(m.view(), r, residual[0].view(), r));
    }
  }
}

// ---- rows by index ----

TEST_P(CpuDecoderOpsTest, EmbedTokensTakesOwnRowsAndZeroesTheOthers) {
  Random random(6);
  const std::vector<int32_t> ids = {9, 10, 13, 17, 18, 0, 12};
  const std::vector<int32_t> positions(7, 0);
  const std::vector<int64_t> slots(7, -1);
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const HostMatrix table = RandomMatrix(random, 10, 17, 1, 0, type);
    const auto uploaded = backend_->Upload(table.view());
    HostMatrix out = PoisonedMatrix(7, 17, 2);
    backend_->BeginStep(TokensOnly(ids, positions, slots));
    // Own rows are 10 .. 17; two rows of the table are padding.
    backend_->EmbedTokens(uploaded->view(), 10, 8, out.view());
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool own = ids[i] >= 10 && ids[i] < 18;
      for (int64_t c = 0; c < 17; ++c) {
        EXPECT_EQ(out.At(static_cast<int64_t>(i), c), own ? table.At(ids[i] - 10, c) : 0);
      }
    }
  }
}

TEST_P(CpuDecoderOpsTest, ScatterAndGatherMoveWholeRows) {
  Random random(7);
  const HostMatrix source = RandomMatrix(random, 5, 12, 1, 3);
  HostMatrix out = RandomMatrix(random, 6, 12, 1, 1);
  const float before = out.At(0, 4);
  const std::vector<int32_t> from = {4, 0}, to = {1, 5};
  backend_->ScatterRows(source.view(), from, to, out.view());
  EXPECT_TRUE(SameBits(out.view(), 1, source.view(), 4));
  EXPECT_TRUE(SameBits(out.view(), 5, source.view(), 0));
  EXPECT_EQ(out.At(0, 4), before);
  HostMatrix gathered = PoisonedMatrix(3, 12);
  const std::vector<int32_t> rows = {3, 3, 1};
  backend_->GatherRows(source.view(), rows, gathered.view());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(SameBits(gathered.view(), static_cast<int64_t>(i), source.view(), rows[i]));
  }
  const std::vector<int32_t> bad = {3, 5, 1};
  EXPECT_THROW(backend_->GatherRows(source.view(), bad, gathered.view()), Error);
}

TEST_P(CpuDecoderOpsTest, BeginStepRefusesWhatItCannotRun) {
  const std::vector<int32_t> unresolved = {-1}, position = {0}, id = {0}, table = {0};
  const std::vector<int64_t> slot = {0};
  EXPECT_THROW(backend_->BeginStep(TokensOnly(unresolved, position, slot)), Error);
  StepMetadata metadata = TokensOnly(id, position, slot);
  metadata.block_tables = table;
  metadata.max_blocks_per_sequence = 1;
  const std::vector<SequenceSpan> good = {{0, 1, 1, 0}};
  metadata.spans = good;
  EXPECT_NO_THROW(backend_->BeginStep(metadata));
  for (const SequenceSpan& span : {SequenceSpan{0, 2, 2, 0}, SequenceSpan{0, 1, 0, 0},
                                   SequenceSpan{0, 1, 1, 1}, SequenceSpan{0, 0, 1, 0}}) {
    const std::vector<SequenceSpan> bad = {span};
    metadata.spans = bad;
    EXPECT_THROW(backend_->BeginStep(metadata), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, CpuDecoderOpsTest,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

}  // namespace
}  // namespace skein::test
