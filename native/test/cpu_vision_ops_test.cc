// The vision ops of the CPU back end against plain loops, and the numeric contract over tiles and
// threads.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "test/reference_ops.h"

namespace skein::test {
namespace {

using cpu::InstructionClass;

class CpuVisionOpsTest : public testing::TestWithParam<InstructionClass> {
 protected:
  std::unique_ptr<Backend> backend_ = cpu::MakeCpuBackendOfClass(2, GetParam());
};

TEST_P(CpuVisionOpsTest, PatchesAreChannelMajorAndNormalised) {
  constexpr int64_t kTiles = 2, kSide = 12, kPatch = 4, kGrid = kSide / kPatch;
  const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  Random random(1);
  std::vector<uint8_t> pixels(kTiles * kSide * kSide * 3);
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.Below(256));
  HostMatrix out = PoisonedMatrix(kTiles * kGrid * kGrid, 3 * kPatch * kPatch, 2);
  backend_->PixelsToPatches(pixels.data(), kTiles, kSide, kPatch, mean, std, out.view());
  for (int64_t row = 0; row < out.rows(); ++row) {
    const int64_t tile = row / 9, top = row / 3 % 3 * kPatch, left = row % 3 * kPatch;
    for (int64_t col = 0; col < out.cols(); ++col) {
      const int64_t c = col / 16, y = top + col / 4 % 4, x = left + col % 4;
      const float pixel = pixels[static_cast<size_t>(((tile * kSide + y) * kSide + x) * 3 + c)];
      EXPECT_EQ(out.At(row, col), (pixel / 255.0f - mean[c]) / std[c]);
    }
  }
  EXPECT_THROW(backend_->PixelsToPatches(pixels.data(), 1, 12, 5, mean, std, out.view()), Error);
}

TEST_P(CpuVisionOpsTest, TokensStartWithTheClassAndGetTheirPosition) {
  constexpr int64_t kTiles = 3, kPatches = 4, kWidth = 17;
  Random random(2);
  const HostMatrix patches = RandomMatrix(random, kTiles * kPatches, kWidth, 1, 1);
  const HostMatrix cls = RandomMatrix(random, 1, kWidth);
  const HostMatrix positions = RandomMatrix(random, kPatches + 1, kWidth);
  HostMatrix out = PoisonedMatrix(kTiles * (kPatches + 1), kWidth);
  backend_->AssembleVisionTokens(patches.view(), cls.Floats(), positions.Floats(), kTiles,
                                 out.view());
  for (int64_t tile = 0; tile < kTiles; ++tile) {
    for (int64_t token = 0; token <= kPatches; ++token) {
      for (int64_t c = 0; c < kWidth; ++c) {
        const float x = token == 0 ? cls.At(0, c) : patches.At(tile * kPatches + token - 1, c);
        EXPECT_EQ(out.At(tile * (kPatches + 1) + token, c), x + positions.At(token, c));
      }
    }
  }
}

TEST_P(CpuVisionOpsTest, QkNormIsOverTheFullWidth) {
  // Two ranks with 3 and 2 heads must equal one with 5: the sums are added, the divisor is the full
  // width.
  constexpr int64_t kRows = 6, kDim = 20, kHeads = 5, kFull = kHeads * kDim;
  Random random(3);
  const HostMatrix q_weight = RandomMatrix(random, 1, kFull);
  const HostMatrix k_weight = RandomMatrix(random, 1, kFull);
  const HostMatrix whole = RandomMatrix(random, kRows, 3 * kFull, 2);
  HostMatrix expected(kRows, 3 * kFull);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t part = 0; part < 3; ++part) {
      double sum = 0;
      for (int64_t c = 0; c < kFull; ++c) {
        sum += static_cast<double>(whole.At(r, part * kFull + c)) * whole.At(r, part * kFull + c);
      }
      const HostMatrix& weight = part == 0 ? q_weight : k_weight;
      for (int64_t c = 0; c < kFull; ++c) {
        const double x = whole.At(r, part * kFull + c);
        const double normed = x / std::sqrt(sum / kFull + 1e-6) * weight.At(0, c);
        expected.Set(r, part * kFull + c, static_cast<float>(part == 2 ? x : normed));
      }
    }
  }
  struct Part {
    int64_t first_head, heads;
  };
  for (const std::vector<Part>& parts : {std::vector<Part>{{0, 5}}, {{0, 3}, {3, 2}}}) {
    std::vector<HostMatrix> qkv, sums;
    HostMatrix total(kRows, 2);
    for (int64_t r = 0; r < kRows; ++r) total.Set(r, 0, 0), total.Set(r, 1, 0);
    for (const Part& part : parts) {
      const int64_t width = part.heads * kDim;
      qkv.emplace_back(kRows, 3 * width, 1);
      sums.push_back(PoisonedMatrix(kRows, 2));
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t c = 0; c < 3 * width; ++c) {
          qkv.back().Set(r, c, whole.At(r, c / width * kFull + part.first_head * kDim + c % width));
        }
      }
      backend_->QkSumSquares(qkv.back().view(), part.heads, kDim, sums.back().view());
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t c = 0; c < 2; ++c) total.Set(r, c, total.At(r, c) + sums.back().At(r, c));
      }
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      const int64_t width = parts[i].heads * kDim, start = parts[i].first_head * kDim;
      backend_->ApplyQkNorm(qkv[i].view(), total.view(), q_weight.Floats() + start,
                            k_weight.Floats() + start, parts[i].heads, kDim, kFull, 1e-6f);
      HostMatrix part_expected(kRows, 3 * width);
      for (int64_t r = 0; r < kRows; ++r) {
        for (int64_t c = 0; c < 3 * width; ++c) {
          part_expected.Set(r, c, expected.At(r, c / width * kFull + start + c % width));
        }
      }
      ExpectNear(qkv[i], part_expected, 5e-6, "q/k norm of " + std::to_string(parts[i].heads));
    }
  }
}

TEST_P(CpuVisionOpsTest, AttentionEqualsPlainLoopsAndKeepsTilesApart) {
  Random random(4);
  struct Shape {
    int64_t tiles, tokens, heads, head_dim;
  };
  for (const Shape& s :
       {Shape{1, 1, 1, 16}, Shape{2, 17, 5, 16}, Shape{1, 65, 3, 20}, Shape{3, 64, 2, 32},
        Shape{2, 197, 1, 64}, Shape{1, 130, 2, 128}, Shape{1, 257, 3, 40}}) {
    const int64_t width = s.heads * s.head_dim, rows = s.tiles * s.tokens;
    const HostMatrix qkv = RandomMatrix(random, rows, 3 * width, 1, 2);
    HostMatrix out = PoisonedMatrix(rows, width, 1);
    backend_->VisionAttention(qkv.view(), s.tiles, s.tokens, s.heads, s.head_dim, out.view());
    HostMatrix expected(rows, width);
    for (int64_t tile = 0; tile < s.tiles; ++tile) {
      for (int64_t head = 0; head < s.heads; ++head) {
        HostMatrix part[3] = {HostMatrix(s.tokens, s.head_dim), HostMatrix(s.tokens, s.head_dim),
                              HostMatrix(s.tokens, s.head_dim)};
        for (int64_t r = 0; r < s.tokens; ++r) {
          for (int64_t c = 0; c < s.head_dim; ++c) {
            for (int64_t i = 0; i < 3; ++i) {
              part[i].Set(r, c, qkv.At(tile * s.tokens + r, i * width + head * s.head_dim + c));
            }
          }
        }
        const HostMatrix result = ReferenceAttention(part[0], part[1], part[2], false);
        for (int64_t r = 0; r < s.tokens; ++r) {
          for (int64_t c = 0; c < s.head_dim; ++c) {
            expected.Set(tile * s.tokens + r, head * s.head_dim + c, result.At(r, c));
          }
        }
      }
    }
    ExpectNear(out, expected, 1e-5, "vision attention over " + std::to_string(s.tokens));
    // The last tile alone, with other numbers of threads.
    for (const int threads : {1, 3}) {
      const auto other = cpu::MakeCpuBackendOfClass(threads, GetParam());
      HostMatrix alone = PoisonedMatrix(s.tokens, width);
      other->VisionAttention(qkv.view().Rows(rows - s.tokens, s.tokens), 1, s.tokens, s.heads,
                             s.head_dim, alone.view());
      for (int64_t r = 0; r < s.tokens; ++r) {
        ASSERT_TRUE(SameBits(alone.view(), r, out.view(), rows - s.tokens + r)) << "row " << r;
      }
    }
  }
}

TEST_P(CpuVisionOpsTest, PixelShuffleOrdersAsVersionTwo) {
  constexpr int64_t kTiles = 2, kGrid = 6, kFactor = 2, kWidth = 5;
  // The value of an element names its patch.
  HostMatrix x(kTiles * (kGrid * kGrid + 1), kWidth, 1);
  for (int64_t r = 0; r < x.rows(); ++r) {
    for (int64_t c = 0; c < kWidth; ++c) x.Set(r, c, static_cast<float>(r * 10 + c));
  }
  HostMatrix out = PoisonedMatrix(kTiles * 9, 4 * kWidth);
  backend_->PixelShuffle(x.view(), kTiles, kGrid, kFactor, out.view());
  for (int64_t tile = 0; tile < kTiles; ++tile) {
    for (int64_t row = 0; row < 3; ++row) {
      for (int64_t col = 0; col < 3; ++col) {
        const int64_t patches[4][2] = {{2 * row, 2 * col},
                                       {2 * row, 2 * col + 1},
                                       {2 * row + 1, 2 * col},
                                       {2 * row + 1, 2 * col + 1}};
        for (int64_t i = 0; i < 4; ++i) {
          const int64_t patch = tile * 37 + 1 + patches[i][0] * kGrid + patches[i][1];
          for (int64_t c = 0; c < kWidth; ++c) {
            EXPECT_EQ(out.At(tile * 9 + row * 3 + col, i * kWidth + c), x.At(patch, c));
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, CpuVisionOpsTest,
                         testing::ValuesIn(cpu::AvailableInstructionClasses()),
                         [](const auto& info) { return std::string(cpu::Name(info.param)); });

}  // namespace
}  // namespace skein::test
