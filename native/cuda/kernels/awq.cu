// Which instance of the AWQ kernel takes a product, and its launch.
#include <algorithm>

#include "cuda/cuda_check.h"
#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_kernel.cuh"
#include "cuda/kernels/awq_parts.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/tensor_map.h"

namespace skein::cuda {
namespace {

// A multiprocessor has this much more than a block can ask for, and takes as much for each block.
constexpr int kAwqOverHalfBytes = 1024;
// Behind x.
constexpr int kBarrierBytes = 8;

constexpr int CeilDiv(int a, int b) { return (a + b - 1) / b; }

using awq::kTicketRows;
using awq::Product;
using awq::ProductKernel;

template <int kMembers>
__global__ void __launch_bounds__(256)
    SumKernel(const AwqWeights w, const ProductOperands p, const AwqPlan s) {
  LetNextStart();
  WaitForPrevious();
  const int item = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (item < s.groups * static_cast<int>(p.rows) * 4) SumSlices<kMembers>(w, p, s, 0, item);
}

template <typename P>
void Launch(const AwqWeights& w, const ProductOperands& p, const AwqPlan& s, Stream& stream) {
  const int x_rows = s.paired ? P::kMapRows : static_cast<int>(p.rows);
  const int x_bytes = x_rows * kAwqXBytes * s.units_per_slice + kBarrierBytes;
  const auto kernel = ProductKernel<P>;
  static const int most_bytes = [&] {
    const int shared_bytes = CurrentDeviceTraits().shared_bytes;
    SKEIN_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
    return shared_bytes;
  }();
  // Over half of what there is: of two blocks of the next product on one multiprocessor, both take
  // twice as long, while others have none (skinny_kernel.cuh).
  const int bytes =
      std::max({P::kXPlace + x_bytes, P::kSumBytes, most_bytes / 2 + kAwqOverHalfBytes});
  const dim3 grid(static_cast<unsigned>(s.blocks), static_cast<unsigned>(s.slices));
  if (s.paired) {
    const CUtensorMap x_map = MakeTensorMap<3>(
        p.x, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        {kAwqUnitInputs / 2, p.rows, w.in_features / (kAwqUnitInputs / 2)},
        {p.x_stride * 2, kAwqXLine}, {kAwqUnitInputs / 2, P::kMapRows, s.units_per_slice},
        CU_TENSOR_MAP_SWIZZLE_128B);
    LaunchOverlappedClusters(kernel, 2, grid, dim3(P::kThreads), static_cast<size_t>(bytes), stream,
                             w, p, s, x_map);
  } else {
    LaunchOverlapped(kernel, grid, dim3(P::kThreads), static_cast<size_t>(bytes), stream, w, p, s,
                     CUtensorMap{});
  }
}

// The kernel of a tuning that takes at most 16 rows, or 8.
template <int kTuning>
void LaunchFew(const AwqWeights& w, const ProductOperands& p, const AwqPlan& s, Stream& stream) {
  constexpr AwqTuning kTuned = kAwqTunings[kTuning];
  constexpr int kMostTiles = kTuned.most_rows / 8;
  const auto launch =
      p.rows <= 8 ? Launch<Product<1, kTuned, 1>> : Launch<Product<kMostTiles, kTuned, 1>>;
  launch(w, p, s, stream);
}

template <int kSubs>
void LaunchWhole(const AwqWeights& w, const ProductOperands& p, const AwqPlan& s, Stream& stream) {
  constexpr AwqTuning kTuned = kAwqTunings[kAwqWhole];
  const auto launch = p.rows <= 8    ? Launch<Product<1, kTuned, kSubs>>
                      : p.rows <= 16 ? Launch<Product<2, kTuned, kSubs>>
                      : p.rows <= 32 ? Launch<Product<4, kTuned, kSubs>>
                                     : Launch<Product<8, kTuned, kSubs>>;
  launch(w, p, s, stream);
}

// Whether pairs of blocks bring x for each other. The copy engine takes aligned rows that begin
// with a unit.
bool SharesX(const AwqWeights& w, const ProductOperands& p, const AwqPlan& s) {
  static const bool has_clusters = CurrentDeviceTraits().has_warpgroups;
  return has_clusters && p.rows >= kAwqFewestPaired && s.tuning != kAwqWhole && s.blocks % 2 == 0 &&
         w.group_offset == 0 && w.in_features % kAwqUnitInputs == 0 && p.x_stride % 8 == 0 &&
         reinterpret_cast<uint64_t>(p.x) % 16 == 0;
}

}  // namespace

void AwqProduct(const AwqWeights& weights, const ProductOperands& operands, const AwqPlan& plan,
                Stream& stream) {
  if (operands.rows == 0) return;
  SKEIN_CHECK(AwqTakes(weights, plan.tuning, operands.rows, operands.swiglu),
              "tuning %d for %lld rows", plan.tuning, static_cast<long long>(operands.rows));
  SKEIN_CHECK(plan.parts == 1 ||
                  CeilDiv(plan.groups, plan.blocks) * plan.parts <= kAwqTunings[plan.tuning].warps,
              "%d groups by %d blocks in %d parts", plan.groups, plan.blocks, plan.parts);
  SKEIN_CHECK(plan.chunks == 1 || operands.rows <= kAwqMostChunkRows, "%lld rows in %d chunks",
              static_cast<long long>(operands.rows), plan.chunks);
  using Launcher = void (*)(const AwqWeights&, const ProductOperands&, const AwqPlan&, Stream&);
  constexpr Launcher kFew[] = {LaunchFew<0>,  LaunchFew<1>, LaunchFew<2>,  LaunchFew<3>,
                               LaunchFew<4>,  LaunchFew<5>, LaunchFew<6>,  LaunchFew<7>,
                               LaunchFew<8>,  LaunchFew<9>, LaunchFew<10>, LaunchFew<11>,
                               LaunchFew<12>, LaunchFew<13>};
  static_assert(sizeof(kFew) / sizeof(kFew[0]) == kAwqWhole);
  const Launcher launch = plan.tuning != kAwqWhole       ? kFew[plan.tuning]
                          : weights.tables_per_unit == 1 ? LaunchWhole<1>
                                                         : LaunchWhole<4>;
  AwqPlan launched = plan;
  launched.paired = SharesX(weights, operands, plan);
  launch(weights, operands, launched, stream);
  if (plan.slices == 1 || operands.rows <= kTicketRows) return;
  const int items = plan.groups * static_cast<int>(operands.rows) * 4;
  LaunchOverlapped(kAwqTunings[plan.tuning].members == 2 ? SumKernel<2> : SumKernel<1>,
                   dim3(static_cast<unsigned>((items + 255) / 256)), dim3(256), 0, stream, weights,
                   operands, plan);
}

}  // namespace skein::cuda
