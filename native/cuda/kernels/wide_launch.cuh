// The launch of a wide kernel, and of the one that adds up what was cut.
#pragma once

#include "cuda/cuda_check.h"
#include "cuda/kernels/tensor_map.h"
#include "cuda/kernels/wide_kernel.cuh"

namespace skein::cuda::wide {

// x as the copies see it: a block's half of a tile's rows times a step at a time.
template <typename Shape>
CUtensorMap MapRows(const ProductOperands& p, int64_t inputs) {
  return MakeTensorMap<2>(p.x, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, {inputs, p.rows}, {p.x_stride * 2},
                          {kWideStepInputs, Shape::kRows / kWideCluster},
                          CU_TENSOR_MAP_SWIZZLE_128B);
}

template <typename Kernel>
void LaunchWide(const typename Kernel::Maps& maps, const typename Kernel::Weights& w,
                const ProductOperands& p, const WidePlan& s, Stream& stream) {
  using Shape = typename Kernel::Shape;
  constexpr int kSharedBytes = Kernel::Ring::kSharedBytes;
  const auto kernel = WideKernel<Kernel>;
  static const bool raised = [&] {
    SKEIN_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes));
    return true;
  }();
  static_cast<void>(raised);
  LaunchOverlappedClusters(kernel, kWideCluster,
                           dim3(static_cast<unsigned>(s.clusters * kWideCluster)), dim3(kThreads),
                           kSharedBytes, stream, maps, w, p, s);
  if (s.cut == 0 || s.shares == s.cut) return;
  LaunchOverlapped(WideSumKernel<Shape>,
                   dim3(Shape::kQuads, kWideCluster, static_cast<unsigned>(s.cut)),
                   dim3(kConsumers), 0, stream, w.out_features, p, s);
}

}  // namespace skein::cuda::wide
