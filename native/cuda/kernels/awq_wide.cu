// Which instance of the wide AWQ kernel takes a product.
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/awq_wide_kernel.cuh"

namespace skein::cuda {
namespace {

using wide::AwqWide;
using wide::AwqWideLauncher;
using wide::LaunchAwqWide;

template <int... kTiles>
AwqWideLauncher Choose(int tile, bool swiglu, std::integer_sequence<int, kTiles...>) {
  constexpr AwqWideLauncher kPlain[] = {LaunchAwqWide<AwqWide<kTiles, false>>...};
  constexpr AwqWideLauncher kSwiGlu[] = {LaunchAwqWide<AwqWide<kTiles, true>>...};
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
