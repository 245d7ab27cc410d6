// AWQ int4 products of many rows on Hopper, straight from the packed weights: from a few rows,
// where reading the weights takes longest, to prompts of thousands (awq_wide_kernel.cuh).
#pragma once

#include <algorithm>

#include "cuda/kernels/awq.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Inputs of a step: what a block copies at a time. Half a unit.
inline constexpr int kAwqStepInputs = kAwqUnitInputs / 2;
// Blocks that share the rows of x that they read.
inline constexpr int kAwqWideCluster = 2;
// Shared memory that a block may have on Hopper.
inline constexpr int kAwqWideSharedBytes = 227 << 10;

// Rows of x that a block multiplies at a time, and columns: two warpgroups have `blocks` times 64
// each.
struct AwqWideTile {
  int rows, blocks;

  constexpr int columns() const { return 128 * blocks; }
  // Sums of a block, float32.
  constexpr int sum_bytes() const { return columns() * rows * 4; }
};
// With 128 columns, weights become bfloat16 once for up to 256 rows. With 256, x is read half as
// often, which counts where weights go by quickly.
inline constexpr AwqWideTile kAwqWideTiles[] = {{32, 2},  {64, 2},  {96, 2},
                                                {128, 2}, {192, 1}, {256, 1}};
inline constexpr int kAwqNumWideTiles = sizeof(kAwqWideTiles) / sizeof(kAwqWideTiles[0]);

// A piece of work is a pair of column tiles times a tile of rows times all steps of the inputs.
// Clusters of two blocks, one for each column tile, have `waves` whole pieces each; the others,
// fewer than clusters, are cut into as many equal shares as there are clusters.
struct AwqWidePlan {
  int tile;       // of kAwqWideTiles
  int row_tiles;  // the pieces of a pair of column tiles follow one another
  int steps;
  int clusters;
  int waves;
  int cut;  // pieces that are cut; they are the first ones
};

// Whether there is a kernel for these operands on this device. x's and out's memory may be
// anything; only addresses and strides count.
bool AwqWideTakes(const AwqWeights& weights, const AwqOperands& operands,
                  const DeviceTraits& device);
// tile -1: the one that is thought fastest; clusters 0: as many as are thought best.
AwqWidePlan PlanAwqWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device,
                        int tile = -1, int clusters = 0);
// Bytes of partial sums; 0 where nothing is cut.
size_t AwqWidePartialBytes(const AwqWidePlan& plan);
// What is enough for any plan.
size_t AwqWideMostPartialBytes(const DeviceTraits& device);

// out [rows, out] = x [rows, in] W + bias, as AwqProduct; operands.partial has AwqWidePartialBytes.
// Weights times scales are rounded to bfloat16, like AwqDequantize's. A row's bits depend on the
// plan, and so on how many rows there are.
void AwqWideProduct(const AwqWeights& weights, const AwqOperands& operands, const AwqWidePlan& plan,
                    Stream& stream);

}  // namespace skein::cuda
