// Which instance of the wide kernel for dense weights takes a product, and its launch.
#include <utility>

#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/dense_wide_kernel.cuh"
#include "cuda/kernels/wide_launch.cuh"

namespace skein::cuda {
namespace {

using wide::DenseMaps;
using wide::DenseWeights;
using wide::DenseWide;

template <typename Shape>
CUtensorMap MapWeight(const Matrix& weight) {
  const int64_t row_bytes = weight.stride * 2;
  if constexpr (Shape::kSwiGlu) {
    return MakeTensorMap<4>(
        weight.data, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, {weight.cols, 8, 2, weight.rows / 16},
        {row_bytes, weight.rows / 2 * row_bytes, 8 * row_bytes},
        {kWideStepInputs, 8, 2, Shape::kColumns / 16}, CU_TENSOR_MAP_SWIZZLE_128B);
  } else {
    return MakeTensorMap<2>(weight.data, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                            {weight.cols, weight.rows}, {row_bytes},
                            {kWideStepInputs, Shape::kColumns}, CU_TENSOR_MAP_SWIZZLE_128B);
  }
}

template <int kTile, bool kSwiGlu, bool kFloat8, bool kGelu, bool kWhole = false>
void Launch(const Matrix& weight, const ProductOperands& p, const WidePlan& s, Stream& stream) {
  using Kernel = DenseWide<kTile, kSwiGlu, kFloat8, kGelu, kWhole>;
  using Shape = typename Kernel::Shape;
  const DenseMaps maps{MapWeight<Shape>(weight), wide::MapRows<Shape>(p, weight.cols)};
  wide::LaunchWide<Kernel>(maps, DenseWeights{weight.rows}, p, s, stream);
}

using Launcher = void (*)(const Matrix&, const ProductOperands&, const WidePlan&, Stream&);
template <int kTile, bool kFloat8>
constexpr Launcher GeluLauncher() {
  if constexpr (WideTileHasGelu(kTile)) {
    return Launch<kTile, false, kFloat8, true>;
  } else {
    return nullptr;
  }
}
// Of plans without chunks, which most are. A tile that has hardly registers for chunks has an
// instance without them: the one with them spills some, and with values to add under way 5,120 x
// 5,120 by 1,024 rows of float8 took 99 us instead of 63 (H200).
template <int kTile, bool kFloat8>
constexpr Launcher WholeLauncher() {
  return Launch<kTile, false, kFloat8, false, kWideTiles[kTile].is_tight_with_chunks()>;
}
template <bool kFloat8, int... kTiles>
Launcher Choose(const WidePlan& plan, const ProductOperands& p,
                std::integer_sequence<int, kTiles...>) {
  constexpr Launcher kPlain[] = {WholeLauncher<kTiles, kFloat8>()...};
  constexpr Launcher kChunked[] = {Launch<kTiles, false, kFloat8, false>...};
  constexpr Launcher kSwiGlu[] = {Launch<kTiles, true, kFloat8, false>...};
  constexpr Launcher kGelu[] = {GeluLauncher<kTiles, kFloat8>()...};
  const int tile = plan.tile;
  if (p.swiglu) return kSwiGlu[tile];
  if (p.gelu) return kGelu[tile];
  return plan.chunks > 1 ? kChunked[tile] : kPlain[tile];
}

}  // namespace

void DenseWideProduct(const Matrix& weight, const ProductOperands& operands, const WidePlan& plan,
                      Stream& stream) {
  if (operands.rows == 0) return;
  constexpr auto kTiles = std::make_integer_sequence<int, kNumDenseWideTiles>();
  const Launcher launch = operands.x_scales == nullptr ? Choose<false>(plan, operands, kTiles)
                                                       : Choose<true>(plan, operands, kTiles);
  SKEIN_CHECK(launch != nullptr, "a product with GELU by tile %d", plan.tile);
  launch(weight, operands, plan, stream);
}

}  // namespace skein::cuda
