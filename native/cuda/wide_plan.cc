// How a wide product is spread over the GPU.
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/dense_wide.h"

namespace skein::cuda {
namespace {

// A share of fewer steps costs more to write and add up than it saves.
constexpr int64_t kFewestSteps = 8;

// What each tile of rows costs with AWQ weights, however many of its rows there are: microseconds
// of gate and up, 55,296 x 5,120, on an H100, as measured over 144 to 4,100 rows. Of 256
// columns a tile takes some 50 and 0.56 for each row: making bfloat16 weights costs what 90 rows
// cost. The other weights of the 38 B model have the same proportions.
constexpr int kAwqTileCosts[kNumFreeWideTiles] = {70, 87, 101, 120, 174, 220};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The tile for which `cost` is least; of several the largest.
template <typename Cost>
int BestTile(const Cost& cost) {
  int best = 0;
  for (int tile = 1; tile < kNumFreeWideTiles; ++tile) {
    if (cost(tile) <= cost(best)) best = tile;
  }
  return best;
}

// Clocks of a step of a block.
int64_t StepClocks(int tile) {
  const WideTile& tiled = kWideTiles[tile];
  // A product of 64 columns and 16 inputs: the tensor cores' time, or, of few rows, that of reading
  // both operands from shared memory, as measured.
  const int64_t product = std::max(tiled.rows / 2, 45 + tiled.rows / 6);
  return product * (kWideStepInputs / 16) * 2 * tiled.blocks;
}

// Chunks of a weight: as many as keep the clusters of an H100 or H200 busy when there are few rows.
int FixedChunks(const Matrix& weight) {
  constexpr int64_t kClusters = 66, kColumns = 128;
  const int64_t pieces = CeilDiv(CeilDiv(weight.rows, kColumns), kWideCluster);
  const int64_t most = CeilDiv(weight.cols, kWideStepInputs) / kFewestSteps;
  return static_cast<int>(std::clamp<int64_t>(kClusters / pieces, 1, std::max<int64_t>(1, most)));
}

// What a block's step takes, and the end of a chunk.
struct FixedClocks {
  int64_t step, chunk_end;
};

// The plan that is thought fastest of those with `chunks` chunks of a piece's steps, whichever
// clusters sum them; of tiles that `takes`.
template <typename Takes, typename Clocks>
WidePlan PlanFixed(int64_t outputs, int64_t steps, int chunks, int grain, int64_t rows,
                   const DeviceTraits& device, const Takes& takes, const Clocks& clocks_of) {
  const int64_t most_clusters = std::max(1, device.multiprocessors / kWideCluster);
  WidePlan best{};
  int64_t best_clocks = std::numeric_limits<int64_t>::max();
  // The first `cut` pieces in `parts` shares each, the others whole.
  const auto consider = [&](WidePlan plan, int parts) {
    plan.shares = plan.cut * parts;
    plan.clusters = static_cast<int>(
        plan.waves > 0 ? most_clusters : std::min<int64_t>(most_clusters, plan.shares));
    const size_t bytes = WidePartialBytes(plan);
    if (bytes > WideMostPartialBytes(device)) return;
    // As measured on an H100: what a cluster reads of a step from the second-level cache, which is
    // all that a step takes where there are many rows; partial sums that are written and added up;
    // where a cluster begins and ends a piece; where a chunk ends.
    constexpr int64_t kClusterBytes = 60, kFixup = 12'000, kFixupBytes = 600, kPiece = 2'000;
    const WideTile& tiled = kWideTiles[plan.tile];
    const FixedClocks each = clocks_of(plan.tile);
    const int64_t step = std::max(each.step, (kWideCluster * tiled.columns() + tiled.rows) * 2 *
                                                 kWideStepInputs / kClusterBytes);
    const int64_t whole = plan.steps * step + kPiece + (chunks - 1) * each.chunk_end;
    const int64_t share = parts == 1 ? whole : CeilDiv(plan.steps, parts) * step + kPiece;
    int64_t clocks = plan.waves * whole + CeilDiv(plan.shares, plan.clusters) * share;
    if (plan.shares > plan.cut) {
      clocks += kFixup + int64_t{plan.shares} * kWideCluster * tiled.sum_bytes() / kFixupBytes;
    }
    if (clocks > best_clocks) return;
    best = plan;
    best_clocks = clocks;
  };
  for (int tile = 0; tile < kNumWideTiles; ++tile) {
    if (!takes(tile)) continue;
    const WideTile& tiled = kWideTiles[tile];
    WidePlan plan{};
    plan.tile = tile;
    plan.chunks = chunks;
    plan.grain = grain;
    plan.row_tiles = static_cast<int>(CeilDiv(rows, tiled.rows));
    plan.steps = static_cast<int>(steps);
    const auto pieces =
        static_cast<int>(CeilDiv(CeilDiv(outputs, tiled.columns()), kWideCluster) * plan.row_tiles);
    if (chunks > 1) {
      plan.cut = pieces;
      consider(plan, chunks);
    }
    plan.waves = pieces / static_cast<int>(most_clusters);
    plan.cut = pieces % static_cast<int>(most_clusters);
    consider(plan, 1);
    consider(plan, chunks);
  }
  SKEIN_CHECK(best.clusters > 0, "no fixed plan for %lld rows", static_cast<long long>(rows));
  return best;
}

}  // namespace

WidePlan PlanWide(int64_t out_features, int64_t inputs, int64_t rows, const DeviceTraits& device,
                  int tile, int clusters, WideRest rest) {
  WidePlan plan{};
  plan.tile = tile;
  const WideTile& tiled = kWideTiles[plan.tile];
  // With SwiGLU, half of a tile's columns are gate's and half up's.
  const int64_t columns = CeilDiv(out_features, tiled.columns());
  plan.row_tiles = static_cast<int>(CeilDiv(rows, tiled.rows));
  plan.steps = static_cast<int>(CeilDiv(inputs, kWideStepInputs));
  const int64_t pieces = CeilDiv(columns, kWideCluster) * plan.row_tiles;
  if (clusters == 0) {
    const int64_t most = std::max(1, device.multiprocessors / kWideCluster);
    clusters =
        static_cast<int>(std::min(most, std::max(pieces, pieces * plan.steps / kFewestSteps)));
  }
  plan.clusters = static_cast<int>(std::min<int64_t>(clusters, pieces * plan.steps));
  plan.waves = static_cast<int>(pieces / plan.clusters);
  plan.cut = static_cast<int>(pieces % plan.clusters);
  plan.shares = plan.clusters;
  plan.chunks = 1;
  plan.grain = 1;
  if (plan.cut == 0) return plan;
  const int each = plan.clusters / plan.cut;
  if (each > 1 || rest == WideRest::kWhole) {
    const int most = std::max(1, plan.steps / static_cast<int>(kFewestSteps));
    plan.shares = plan.cut * std::min(each, most);
  }
  return plan;
}

size_t WidePartialBytes(const WidePlan& plan) {
  const auto slot_bytes = kWideCluster * static_cast<size_t>(kWideTiles[plan.tile].sum_bytes());
  size_t slots = 0;
  if (plan.chunks > 1) {
    // A share is a chunk. Behind them what a cluster keeps of a whole piece.
    const bool has_whole = plan.waves > 0 || plan.shares == plan.cut;
    if (plan.shares > plan.cut) slots += static_cast<size_t>(plan.shares);
    if (has_whole && !kWideTiles[plan.tile].sums_chunks()) {
      slots = static_cast<size_t>(plan.shares + plan.clusters);
    }
  } else if (plan.cut > 0 && plan.shares > plan.cut) {
    slots = static_cast<size_t>(plan.shares) * 2;  // a share is of at most two pieces
  }
  return slots * slot_bytes;
}

size_t WideMostPartialBytes(const DeviceTraits& device) {
  if (!device.has_warpgroups) return 0;
  int most = 0;
  for (const WideTile& tile : kWideTiles) most = std::max(most, tile.sum_bytes());
  return static_cast<size_t>(device.multiprocessors) * 2 * static_cast<size_t>(most);
}

bool CanCopyRows(const ProductOperands& operands) {
  return operands.rows > 0 && reinterpret_cast<uint64_t>(operands.x) % 16 == 0 &&
         operands.x_stride % 8 == 0;
}

bool AwqWideTakes(const AwqWeights& weights, const ProductOperands& operands,
                  const DeviceTraits& device) {
  if (!device.has_warpgroups || weights.tables_per_unit != 1) return false;
  if (weights.out_features % (operands.swiglu ? 2 * kAwqTileColumns : 8) != 0) return false;
  return CanCopyRows(operands) && weights.group_offset % 8 == 0;
}

WidePlan PlanAwqWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device, int tile,
                     int clusters) {
  if (tile < 0) {
    tile = BestTile(
        [&](int each) { return CeilDiv(rows, kWideTiles[each].rows) * kAwqTileCosts[each]; });
  }
  return PlanWide(weights.out_features, weights.in_features + weights.group_offset, rows, device,
                  tile, clusters, WideRest::kEqual);
}

bool DenseWideTakes(const Matrix& weight, const ProductOperands& operands,
                    const DeviceTraits& device) {
  if (operands.gelu && (operands.out_is_float || !StoresTogether(operands, 4))) {
    return false;
  }
  return device.has_warpgroups && weight.rows % (operands.swiglu ? 16 : 8) == 0 &&
         weight.cols % 8 == 0 && weight.stride % 8 == 0 &&
         reinterpret_cast<uint64_t>(weight.data) % 16 == 0 && CanCopyRows(operands);
}

WidePlan PlanDenseWide(const Matrix& weight, int64_t rows, const DeviceTraits& device, int tile,
                       int clusters) {
  const auto plan = [&](int each) {
    return PlanWide(weight.rows, weight.cols, rows, device, each, clusters, WideRest::kWhole);
  };
  if (tile >= 0) return plan(tile);
  // Clocks of the busiest cluster.
  return plan(BestTile([&](int each) {
    const WidePlan cut = plan(each);
    // Writing partial sums and adding them up.
    constexpr int64_t kFixup = 16'000;
    const bool is_split = cut.cut > 0 && cut.shares > cut.cut;
    const int64_t share = cut.cut == 0 ? 0 : CeilDiv(int64_t{cut.cut} * cut.steps, cut.shares);
    return (int64_t{cut.waves} * cut.steps + share) * StepClocks(each) + (is_split ? kFixup : 0);
  }));
}

WidePlan PlanDenseWideFixed(const Matrix& weight, int64_t rows, const DeviceTraits& device,
                            int tile) {
  const auto clocks = [](int each) {
    const WideTile& tiled = kWideTiles[each];
    return FixedClocks{StepClocks(each), tiled.sums_chunks() ? 700 : tiled.sum_bytes() / 25};
  };
  return PlanFixed(
      weight.rows, CeilDiv(weight.cols, kWideStepInputs), FixedChunks(weight), 1, rows, device,
      [&](int each) { return each < kNumDenseWideTiles && (tile < 0 || each == tile); }, clocks);
}

WidePlan PlanAwqExactWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device,
                          int tile) {
  const auto clocks = [](int each) {
    // Turns change hands eight times less often than products; the sums of a chunk are written to
    // shared memory and read.
    constexpr int64_t kTurns = 60;
    const WideTile& tiled = kWideTiles[each];
    return FixedClocks{StepClocks(each) + kTurns, tiled.sum_bytes() / 64};
  };
  return PlanFixed(
      weights.out_features, weights.units * 2, AwqChunks(weights), 2, rows, device,
      [&](int each) { return WideTileIsExact(each) && (tile < 0 || each == tile); }, clocks);
}

}  // namespace skein::cuda
