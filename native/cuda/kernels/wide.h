// Products of many rows by Hopper's warpgroup products: tiles, and how they are spread over the
// GPU, whatever form the weights have (awq_wide.h, dense_wide.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernels/device_traits.h"
#include "cuda/kernels/product.h"

namespace skein::cuda {

// Inputs of a step: what a block copies at a time.
inline constexpr int kWideStepInputs = 64;
// Blocks that share the rows of x that they read.
inline constexpr int kWideCluster = 2;
// Shared memory that a block may have on Hopper.
inline constexpr int kWideSharedBytes = 227 << 10;

// Rows of x that a block multiplies at a time, and columns: two warpgroups have `blocks` times 64
// each.
struct WideTile {
  int rows, blocks;

  constexpr int columns() const { return 128 * blocks; }
  // A thread has registers for its sums twice: of a chunk and of those before it.
  constexpr bool sums_chunks() const { return rows * blocks <= 192; }
  // It has, but few are left for what else it does.
  constexpr bool is_tight_with_chunks() const { return rows * blocks == 192; }
  // Sums of a block, float32.
  constexpr int sum_bytes() const { return columns() * rows * 4; }
};
// With 128 columns, AWQ weights become bfloat16 once for up to 256 rows. With 256, x is read half
// as often, which counts where weights go by quickly.
inline constexpr WideTile kWideTiles[] = {{32, 2},  {64, 2}, {96, 2}, {128, 2}, {192, 1},
                                          {256, 1}, {32, 1}, {64, 1}, {96, 1},  {128, 1}};
inline constexpr int kNumWideTiles = sizeof(kWideTiles) / sizeof(kWideTiles[0]);
// Those that every plan chooses among. The others are for fixed plans: with half the columns there
// are half as many chunks for the same number of clusters.
inline constexpr int kNumFreeWideTiles = 6;
// Those of dense weights.
inline constexpr int kNumDenseWideTiles = 8;
// Those of exact AWQ products: a thread has registers for a unit's sums beside its sums.
constexpr bool WideTileIsExact(int tile) { return tile >= kNumFreeWideTiles; }

// Whether products with dense weights have an instance with GELU for this tile: those that plans of
// many rows choose. It is an instance of its own, since code for one more way out of the kernel
// takes registers from the others.
constexpr bool WideTileHasGelu(int tile) { return tile >= 3 && tile < kNumFreeWideTiles; }

// A piece of work is a pair of column tiles times a tile of rows times all steps of the inputs.
// Clusters of two blocks, one for each column tile, have `waves` whole pieces each; the others,
// fewer than clusters, are cut into shares, at most one a cluster.
struct WidePlan {
  int tile;       // of kWideTiles
  int row_tiles;  // the pieces of a pair of column tiles follow one another
  int steps;
  int clusters;
  int waves;
  int cut;     // pieces that are cut; they are the first ones
  int shares;  // as many as `cut`: whole pieces, for some clusters one more
  // More than one: the steps are divided into so many chunks, and a piece's sums are those of its
  // chunks, added one after the other, whether a cluster has all of it or each chunk is a share of
  // its own. Shares are then dealt out in turns, and there may be more of them than clusters.
  int chunks;
  // Steps that chunks do not divide; `steps` is a multiple of it.
  int grain;
};

// A piece that is cut gets as many shares as there are clusters for it: those of several pieces are
// then at the same inputs at the same time, and find what they read in the L2 cache. Where there
// are not two clusters for each: one has all of it (kWhole), or all pieces together are cut into as
// many shares as clusters (kEqual), which costs partial sums, and rereading, but keeps all busy.
enum class WideRest : uint8_t { kWhole, kEqual };

// The plan with tile `tile` for out_features columns and `inputs` inputs. clusters 0: as many as
// are thought best.
WidePlan PlanWide(int64_t out_features, int64_t inputs, int64_t rows, const DeviceTraits& device,
                  int tile, int clusters, WideRest rest);
// Bytes of partial sums; 0 where nothing is cut.
size_t WidePartialBytes(const WidePlan& plan);
// What is enough for any plan.
size_t WideMostPartialBytes(const DeviceTraits& device);

// Whether the copies can address x. An H200 took a box that begins between multiples of 16 bytes
// for an illegal instruction.
bool CanCopyRows(const ProductOperands& operands);

// Whether `count` bfloat16 outputs of a row can be stored at a time, where they begin at a multiple
// of as many.
inline __host__ __device__ bool StoresTogether(const ProductOperands& operands, int count) {
  return operands.out_stride % count == 0 &&
         reinterpret_cast<uint64_t>(operands.out) % (2 * static_cast<uint64_t>(count)) == 0;
}

}  // namespace skein::cuda
