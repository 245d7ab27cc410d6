// Which instance of the wide AWQ kernel takes a product, and its launch.
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/awq_wide_kernel.cuh"
#include "cuda/kernels/tensor_map.h"
#include "cuda/kernels/wide_launch.cuh"

namespace skein::cuda {
namespace {

using wide::AwqMaps;
using wide::AwqWide;

template <typename Shape>
AwqMaps MakeMaps(const AwqWeights& w, const ProductOperands& p) {
  const int64_t tiles = w.padded_out / kAwqTileColumns;
  constexpr int kStepBytes = kAwqWordBytes / 2;
  AwqMaps maps;
  maps.words =
      MakeTensorMap<3>(w.words, CU_TENSOR_MAP_DATA_TYPE_UINT32,
                       {kStepBytes / 4, w.units * 2, tiles}, {kStepBytes, w.units * kAwqWordBytes},
                       {kStepBytes / 4, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.tables =
      MakeTensorMap<3>(w.tables, CU_TENSOR_MAP_DATA_TYPE_UINT32, {kAwqTileColumns, w.units, tiles},
                       {kAwqTableBytes, w.units * kAwqTableBytes},
                       {kAwqTileColumns, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.x = wide::MapRows<Shape>(p, w.in_features);
  return maps;
}

template <int kTile, bool kSwiGlu>
void Launch(const AwqWeights& w, const ProductOperands& p, const WidePlan& s, Stream& stream) {
  using Kernel = AwqWide<kTile, kSwiGlu>;
  wide::LaunchWide<Kernel>(MakeMaps<typename Kernel::Shape>(w, p), w, p, s, stream);
}

using Launcher = void (*)(const AwqWeights&, const ProductOperands&, const WidePlan&, Stream&);
template <int... kTiles>
Launcher Choose(int tile, bool swiglu, std::integer_sequence<int, kTiles...>) {
  constexpr Launcher kPlain[] = {Launch<kTiles, false>...};
  constexpr Launcher kSwiGlu[] = {Launch<kTiles, true>...};
  return swiglu ? kSwiGlu[tile] : kPlain[tile];
}

}  // namespace

void AwqWideProduct(const AwqWeights& weights, const ProductOperands& operands,
                    const WidePlan& plan, Stream& stream) {
  if (operands.rows == 0) return;
  Choose(plan.tile, operands.swiglu, std::make_integer_sequence<int, kNumFreeWideTiles>())(
      weights, operands, plan, stream);
}

}  // namespace skein::cuda
