// Products of few rows with a dense bfloat16 weight: bound by reading the weight once.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/tensor.h"

namespace skein::cuda {

// Rows that the kernels take at most: with more, x weighs as much as the weights in the L2 cache.
inline constexpr int64_t kSkinnyMaxRows = 32;

// How a product is cut. `ring`: where weights wait for their turn.
struct SkinnyTuning {
  enum class Ring : uint8_t {
    kRegisters,
    kShared,      // some 96 KB a block: the next product's block fits beside it
    kWideShared,  // some 160 KB
  };
  Ring ring = Ring::kShared;
  // Blocks that share the columns of one run of outputs: 1, 2 or 4. Fewer reads of x, more sums.
  int cluster = 1;
  // Tiles of 16 weight rows that a warp holds at a time, at most: 1 to 5.
  int tiles = 4;
};

// The best known cut for a shape on the current device.
SkinnyTuning ChooseSkinnyTuning(int64_t rows, int64_t k);
std::string Name(const SkinnyTuning& tuning);

// Whether the kernels take these operands: few rows, bfloat16, rows that begin at multiples of 16
// bytes, k a multiple of 8.
bool IsSkinny(const Matrix& x, const Matrix& weight);

// out [rows, m] = x [rows, k] weight^T + bias; weight [m, k], out bfloat16 or float32, bias [m] in
// out's type, or null. Sums have a fixed order.
void SkinnyProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
                   const SkinnyTuning& tuning, cudaStream_t stream);
// out [rows, m] bfloat16 = silu(x gate^T) * (x up^T); weight [2 m, k] is gate above up.
void SkinnySwiGlu(const Matrix& x, const Matrix& weight, const Matrix& out,
                  const SkinnyTuning& tuning, cudaStream_t stream);

}  // namespace skein::cuda
