// Which instance of the exact wide AWQ kernel takes a product.
#include "cuda/cuda_check.h"
#include "cuda/kernels/awq_exact_wide_kernel.cuh"
#include "cuda/kernels/awq_wide.h"

namespace skein::cuda {
namespace {

using wide::AwqExactWide;
using wide::AwqWideLauncher;
using wide::LaunchAwqWide;

template <bool kSwiGlu, int kTile>
constexpr AwqWideLauncher Launcher() {
  if constexpr (WideTileIsExact(kTile)) {
    return LaunchAwqWide<AwqExactWide<kTile, kSwiGlu>>;
  } else {
    return nullptr;
  }
}
template <int... kTiles>
AwqWideLauncher Choose(int tile, bool swiglu, std::integer_sequence<int, kTiles...>) {
  constexpr AwqWideLauncher kPlain[] = {Launcher<false, kTiles>()...};
  constexpr AwqWideLauncher kSwiGlu[] = {Launcher<true, kTiles>()...};
  return swiglu ? kSwiGlu[tile] : kPlain[tile];
}

}  // namespace

void AwqExactWideProduct(const AwqWeights& weights, const ProductOperands& operands,
                         const WidePlan& plan, Stream& stream) {
  if (operands.rows == 0) return;
  const AwqWideLauncher launch =
      Choose(plan.tile, operands.swiglu, std::make_integer_sequence<int, kNumWideTiles>());
  SKEIN_CHECK(launch != nullptr, "an exact AWQ product by tile %d", plan.tile);
  launch(weights, operands, plan, stream);
}

}  // namespace skein::cuda
