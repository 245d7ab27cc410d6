// How a wide product with AWQ weights is spread over the GPU.
#include "cuda/kernels/awq_wide.h"

namespace skein::cuda {
namespace {

// A share of fewer steps costs more to write and add up than it saves.
constexpr int64_t kFewestSteps = 8;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows are filled up to whole tiles, and tensor cores multiply what fills them up, too. Of tiles
// that come to the same, the largest makes bfloat16 weights least often.
int BestTile(int64_t rows) {
  const auto filled = [&](int tile) {
    return CeilDiv(rows, kAwqWideTiles[tile].rows) * kAwqWideTiles[tile].rows;
  };
  int best = 0;
  for (int tile = 1; tile < kAwqNumWideTiles; ++tile) {
    if (filled(tile) <= filled(best)) best = tile;
  }
  return best;
}

}  // namespace

bool AwqWideTakes(const AwqWeights& weights, const AwqOperands& operands,
                  const DeviceTraits& device) {
  if (!device.has_warpgroups || weights.tables_per_unit != 1) return false;
  if (weights.out_features % (operands.swiglu ? 2 * kAwqTileColumns : 8) != 0) return false;
  // What the copies of x can address. An H200 took a box that begins between multiples of 16 bytes
  // for an illegal instruction.
  return operands.rows > 0 && reinterpret_cast<uint64_t>(operands.x) % 16 == 0 &&
         operands.x_stride % 8 == 0 && weights.group_offset % 8 == 0;
}

AwqWidePlan PlanAwqWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device,
                        int tile, int clusters) {
  AwqWidePlan plan{};
  plan.tile = tile < 0 ? BestTile(rows) : tile;
  const AwqWideTile& tiled = kAwqWideTiles[plan.tile];
  // With SwiGLU, half of a tile's columns are gate's and half up's.
  const int64_t columns = CeilDiv(weights.out_features, tiled.columns());
  plan.row_tiles = static_cast<int>(CeilDiv(rows, tiled.rows));
  plan.steps =
      static_cast<int>(CeilDiv(weights.in_features + weights.group_offset, kAwqStepInputs));
  const int64_t pieces = CeilDiv(columns, kAwqWideCluster) * plan.row_tiles;
  if (clusters == 0) {
    const int64_t most = std::max(1, device.multiprocessors / kAwqWideCluster);
    clusters =
        static_cast<int>(std::min(most, std::max(pieces, pieces * plan.steps / kFewestSteps)));
  }
  plan.clusters = static_cast<int>(std::min<int64_t>(clusters, pieces * plan.steps));
  plan.waves = static_cast<int>(pieces / plan.clusters);
  plan.cut = static_cast<int>(pieces % plan.clusters);
  return plan;
}

size_t AwqWidePartialBytes(const AwqWidePlan& plan) {
  if (plan.cut == 0) return 0;
  // A cluster's share is of at most two pieces.
  return static_cast<size_t>(plan.clusters) * 2 * kAwqWideCluster *
         static_cast<size_t>(kAwqWideTiles[plan.tile].sum_bytes());
}

size_t AwqWideMostPartialBytes(const DeviceTraits& device) {
  if (!device.has_warpgroups) return 0;
  int most = 0;
  for (const AwqWideTile& tile : kAwqWideTiles) most = std::max(most, tile.sum_bytes());
  return static_cast<size_t>(device.multiprocessors) * 2 * static_cast<size_t>(most);
}

}  // namespace skein::cuda
