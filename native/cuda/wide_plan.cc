// How a wide product is spread over the GPU.
#include <algorithm>

#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/dense_wide.h"

namespace skein::cuda {
namespace {

// A share of fewer steps costs more to write and add up than it saves.
constexpr int64_t kFewestSteps = 8;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The tile for which `cost` is least; of several the largest.
template <typename Cost>
int BestTile(const Cost& cost) {
  int best = 0;
  for (int tile = 1; tile < kNumWideTiles; ++tile) {
    if (cost(tile) <= cost(best)) best = tile;
  }
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
  if (plan.cut == 0) return plan;
  const int each = plan.clusters / plan.cut;
  if (each > 1 || rest == WideRest::kWhole) {
    const int most = std::max(1, plan.steps / static_cast<int>(kFewestSteps));
    plan.shares = plan.cut * std::min(each, most);
  }
  return plan;
}

size_t WidePartialBytes(const WidePlan& plan) {
  if (plan.cut == 0 || plan.shares == plan.cut) return 0;
  // A share is of at most two pieces.
  return static_cast<size_t>(plan.shares) * 2 * kWideCluster *
         static_cast<size_t>(kWideTiles[plan.tile].sum_bytes());
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
  // Rows are filled up to whole tiles, and tensor cores multiply what fills them up, too. Of tiles
  // that come to the same, the largest makes bfloat16 weights least often.
  if (tile < 0) {
    tile = BestTile(
        [&](int each) { return CeilDiv(rows, kWideTiles[each].rows) * kWideTiles[each].rows; });
  }
  return PlanWide(weights.out_features, weights.in_features + weights.group_offset, rows, device,
                  tile, clusters, WideRest::kEqual);
}

bool DenseWideTakes(const Matrix& weight, const ProductOperands& operands,
                    const DeviceTraits& device) {
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
    const WideTile& tiled = kWideTiles[each];
    const WidePlan cut = plan(each);
    // A product of 64 columns and 16 inputs: the tensor cores' time, or, of few rows, that of
    // reading both operands from shared memory, as measured.
    const int64_t product = std::max(tiled.rows / 2, 45 + tiled.rows / 6);
    const int64_t step = product * (kWideStepInputs / 16) * 2 * tiled.blocks;
    // Writing partial sums and adding them up.
    constexpr int64_t kFixup = 16'000;
    const bool is_split = cut.cut > 0 && cut.shares > cut.cut;
    const int64_t share = cut.cut == 0 ? 0 : CeilDiv(int64_t{cut.cut} * cut.steps, cut.shares);
    return (int64_t{cut.waves} * cut.steps + share) * step + (is_split ? kFixup : 0);
  }));
}

}  // namespace skein::cuda
