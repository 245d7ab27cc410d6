// Which instance of the wide AWQ kernel takes a product, and its launch.
#include "cuda/cuda_check.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/awq_wide_kernel.cuh"
#include "cuda/kernels/tensor_map.h"

namespace skein::cuda {
namespace {

using awq::kConsumers;

template <typename Shape>
awq::WideMaps MakeMaps(const AwqWeights& w, const AwqOperands& p) {
  const int64_t tiles = w.padded_out / kAwqTileColumns;
  constexpr int kStepBytes = kAwqWordBytes / 2;
  awq::WideMaps maps;
  maps.words =
      MakeTensorMap<3>(w.words, CU_TENSOR_MAP_DATA_TYPE_UINT32,
                       {kStepBytes / 4, w.units * 2, tiles}, {kStepBytes, w.units * kAwqWordBytes},
                       {kStepBytes / 4, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.tables =
      MakeTensorMap<3>(w.tables, CU_TENSOR_MAP_DATA_TYPE_UINT32, {kAwqTileColumns, w.units, tiles},
                       {kAwqTableBytes, w.units * kAwqTableBytes},
                       {kAwqTileColumns, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.x = MakeTensorMap<2>(p.x, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, {w.in_features, p.rows},
                            {p.x_stride * 2}, {kAwqStepInputs, Shape::kRows / kAwqWideCluster},
                            CU_TENSOR_MAP_SWIZZLE_128B);
  return maps;
}

template <int kTile, bool kSwiGlu>
void Launch(const AwqWeights& w, const AwqOperands& p, const AwqWidePlan& s, Stream& stream) {
  using Wide = awq::Wide<kTile, kSwiGlu>;
  const auto kernel = awq::WideKernel<kTile, kSwiGlu>;
  static const bool raised = [&] {
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Wide::kSharedBytes));
    return true;
  }();
  static_cast<void>(raised);
  LaunchOverlappedClusters(kernel, kAwqWideCluster,
                           dim3(static_cast<unsigned>(s.clusters * kAwqWideCluster)),
                           dim3(Wide::kThreads), Wide::kSharedBytes, stream,
                           MakeMaps<typename Wide::Shape>(w, p), w, p, s);
  if (s.cut == 0) return;
  LaunchOverlapped(awq::WideSumKernel<kTile, kSwiGlu>,
                   dim3(Wide::Shape::kQuads, kAwqWideCluster, static_cast<unsigned>(s.cut)),
                   dim3(kConsumers), 0, stream, w, p, s);
}

using Launcher = void (*)(const AwqWeights&, const AwqOperands&, const AwqWidePlan&, Stream&);
template <int... kTiles>
Launcher Choose(int tile, bool swiglu, std::integer_sequence<int, kTiles...>) {
  constexpr Launcher kPlain[] = {Launch<kTiles, false>...};
  constexpr Launcher kSwiGlu[] = {Launch<kTiles, true>...};
  return swiglu ? kSwiGlu[tile] : kPlain[tile];
}

}  // namespace

void AwqWideProduct(const AwqWeights& weights, const AwqOperands& operands, const AwqWidePlan& plan,
                    Stream& stream) {
  if (operands.rows == 0) return;
  Choose(plan.tile, operands.swiglu, std::make_integer_sequence<int, kAwqNumWideTiles>())(
      weights, operands, plan, stream);
}

}  // namespace skein::cuda
