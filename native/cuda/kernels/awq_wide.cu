// Which instance of the wide AWQ kernel takes a product, and its launch.
#include "cuda/cuda_check.h"
#include "cuda/driver_call.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/awq_wide_kernel.cuh"

namespace skein::cuda {
namespace {

using awq::kConsumers;

// How the copies see x: boxes of 64 inputs of half a tile's rows; zeros outside.
CUtensorMap MapX(const AwqWeights& w, const AwqOperands& p, int tile_rows) {
  static const auto kEncode = [] {
    decltype(&cuTensorMapEncodeTiled) call = nullptr;
    SKEIN_CHECK(FindDriverCall("cuTensorMapEncodeTiled", &call), "no cuTensorMapEncodeTiled");
    return call;
  }();
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(w.in_features),
                              static_cast<cuuint64_t>(p.rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(p.x_stride) * sizeof(__nv_bfloat16)};
  const cuuint32_t box[] = {kAwqStepInputs, static_cast<cuuint32_t>(tile_rows / kAwqWideCluster)};
  const cuuint32_t steps[] = {1, 1};
  CUtensorMap map;
  const CUresult status =
      kEncode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<__nv_bfloat16*>(p.x), sizes,
              strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SKEIN_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled: %d for %lld rows of %lld inputs",
              static_cast<int>(status), static_cast<long long>(p.rows),
              static_cast<long long>(w.in_features));
  return map;
}

template <int kTile, bool kSwiGlu>
void Launch(const AwqWeights& w, const AwqOperands& p, const AwqWidePlan& s, cudaStream_t stream) {
  using Wide = awq::Wide<kTile, kSwiGlu>;
  const auto kernel = awq::WideKernel<kTile, kSwiGlu>;
  static const bool raised = [&] {
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    Wide::kSharedBytes));
    return true;
  }();
  static_cast<void>(raised);
  LaunchOverlappedClusters(
      kernel, kAwqWideCluster, dim3(static_cast<unsigned>(s.clusters * kAwqWideCluster)),
      dim3(Wide::kThreads), Wide::kSharedBytes, stream, MapX(w, p, Wide::kRows), w, p, s);
  if (s.cut == 0) return;
  LaunchOverlapped(awq::WideSumKernel<kTile, kSwiGlu>,
                   dim3(Wide::Shape::kQuads, kAwqWideCluster, static_cast<unsigned>(s.cut)),
                   dim3(kConsumers), 0, stream, w, p, s);
}

using Launcher = void (*)(const AwqWeights&, const AwqOperands&, const AwqWidePlan&, cudaStream_t);
template <int... kTiles>
Launcher Choose(int tile, bool swiglu, std::integer_sequence<int, kTiles...>) {
  constexpr Launcher kPlain[] = {Launch<kTiles, false>...};
  constexpr Launcher kSwiGlu[] = {Launch<kTiles, true>...};
  return swiglu ? kSwiGlu[tile] : kPlain[tile];
}

}  // namespace

void AwqWideProduct(const AwqWeights& weights, const AwqOperands& operands, const AwqWidePlan& plan,
                    cudaStream_t stream) {
  if (operands.rows == 0) return;
  Choose(plan.tile, operands.swiglu, std::make_integer_sequence<int, kAwqNumWideTiles>())(
      weights, operands, plan, stream);
}

}  // namespace skein::cuda
