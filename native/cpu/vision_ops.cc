// The ops of the vision tower: checks of shapes and loops over rows around the kernels.
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "cpu/attention.h"
#include "cpu/cpu_backend.h"
#include "cpu/matrix_rows.h"
#include "cpu/parallel_rows.h"

namespace skein::cpu {
namespace {

constexpr int64_t kChannels = 3;

}  // namespace

void CpuBackend::PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                                 const float mean[3], const float std[3], const Matrix& out) {
  SKEIN_CHECK(patch > 0 && side % patch == 0, "side %ld, patch %ld", static_cast<long>(side),
              static_cast<long>(patch));
  const int64_t grid = side / patch;
  CheckFloat(out, tiles * grid * grid, kChannels * patch * patch, "patches");
  float value[kChannels][256];
  for (int64_t c = 0; c < kChannels; ++c) {
    for (int i = 0; i < 256; ++i) {
      value[c][i] = (static_cast<float>(i) / 255.0f - mean[c]) / std[c];
    }
  }
  ForEachRow(pool_, out.rows, out.cols, [&](int64_t row) {
    const int64_t tile = row / (grid * grid);
    const int64_t top = row / grid % grid * patch;
    const int64_t left = row % grid * patch;
    float* to = Row(out, row);
    for (int64_t c = 0; c < kChannels; ++c) {
      for (int64_t y = 0; y < patch; ++y) {
        const uint8_t* from = pixels + ((tile * side + top + y) * side + left) * kChannels + c;
        for (int64_t x = 0; x < patch; ++x) *to++ = value[c][from[x * kChannels]];
      }
    }
  });
}

void CpuBackend::AssembleVisionTokens(const Matrix& patches, const float* class_embedding,
                                      const float* position_embedding, int64_t tiles,
                                      const Matrix& out) {
  SKEIN_CHECK(tiles > 0 && patches.rows % tiles == 0, "%ld patches of %ld tiles",
              static_cast<long>(patches.rows), static_cast<long>(tiles));
  const int64_t num_patches = patches.rows / tiles;
  CheckFloat(patches, tiles * num_patches, out.cols, "patches");
  CheckFloat(out, tiles * (num_patches + 1), patches.cols, "vision tokens");
  ForEachRow(pool_, out.rows, out.cols, [&](int64_t row) {
    const int64_t tile = row / (num_patches + 1);
    const int64_t token = row % (num_patches + 1);
    const float* from = token == 0 ? class_embedding : Row(patches, tile * num_patches + token - 1);
    kernels_.add(from, position_embedding + token * out.cols, out.cols, Row(out, row));
  });
}

void CpuBackend::QkSumSquares(const Matrix& qkv, int64_t num_heads, int64_t head_dim,
                              const Matrix& sums) {
  const int64_t width = num_heads * head_dim;
  CheckFloat(qkv, sums.rows, 3 * width, "qkv");
  CheckFloat(sums, qkv.rows, 2, "sums of squares");
  ForEachRow(pool_, qkv.rows, 2 * width, [&](int64_t row) {
    const float* q = Row(qkv, row);
    Row(sums, row)[0] = kernels_.sum_squares(q, width);
    Row(sums, row)[1] = kernels_.sum_squares(q + width, width);
  });
}

void CpuBackend::ApplyQkNorm(const Matrix& qkv, const Matrix& sums, const float* q_weight,
                             const float* k_weight, int64_t num_heads, int64_t head_dim,
                             int64_t full_width, float eps) {
  const int64_t width = num_heads * head_dim;
  CheckFloat(qkv, sums.rows, 3 * width, "qkv");
  CheckFloat(sums, qkv.rows, 2, "sums of squares");
  const auto factor = [&](float sum) {
    return 1.0f / std::sqrt(sum / static_cast<float>(full_width) + eps);
  };
  ForEachRow(pool_, qkv.rows, 2 * width, [&](int64_t row) {
    float* q = Row(qkv, row);
    kernels_.scale_by(factor(Row(sums, row)[0]), q_weight, width, q);
    kernels_.scale_by(factor(Row(sums, row)[1]), k_weight, width, q + width);
  });
}

void CpuBackend::VisionAttention(const Matrix& qkv, int64_t tiles, int64_t tokens,
                                 int64_t num_heads, int64_t head_dim, const Matrix& out) {
  CheckFloat(qkv, tiles * tokens, 3 * num_heads * head_dim, "qkv");
  CheckFloat(out, tiles * tokens, num_heads * head_dim, "attention output");
  if (head_dim > kMaxHeadDim) {
    throw Error("UNSUPPORTED_MODEL",
                Format("vision head_dim is %ld; the CPU back end takes up to %ld",
                       static_cast<long>(head_dim), static_cast<long>(kMaxHeadDim)));
  }
  RunVisionAttention({qkv, out, tiles, tokens, num_heads, head_dim}, kernels_, pool_);
}

void CpuBackend::PixelShuffle(const Matrix& x, int64_t tiles, int64_t grid, int64_t factor,
                              const Matrix& out) {
  SKEIN_CHECK(factor > 0 && grid % factor == 0, "grid %ld, factor %ld", static_cast<long>(grid),
              static_cast<long>(factor));
  const int64_t cells = grid / factor;
  CheckFloat(x, tiles * (grid * grid + 1), x.cols, "vision tokens");
  CheckFloat(out, tiles * cells * cells, factor * factor * x.cols, "shuffled tokens");
  ForEachRow(pool_, out.rows, out.cols, [&](int64_t row) {
    const int64_t tile = row / (cells * cells);
    const int64_t top = row / cells % cells * factor;
    const int64_t left = row % cells * factor;
    float* to = Row(out, row);
    for (int64_t y = 0; y < factor; ++y) {
      // Patches of one row of the grid are adjacent rows of x; the first row of a tile is its class
      // token.
      for (int64_t i = 0; i < factor; ++i, to += x.cols) {
        const int64_t patch = tile * (grid * grid + 1) + 1 + (top + y) * grid + left + i;
        std::memcpy(to, Row(x, patch), x.RowBytes());
      }
    }
  });
}

}  // namespace skein::cpu
