// How products of few rows are cut for the device at hand, and which instance of the kernel takes
// them.
#include <algorithm>

#include "cuda/kernels/skinny_kernel.cuh"
#include "cuda/kernels/skinny_product.h"

namespace skein::cuda {
namespace {

using skinny::Arguments;
using skinny::kThreads;
using skinny::kUnitColumns;
using skinny::kWarps;

struct Device {
  int processors = 0, shared_bytes = 0, major = 0;

  Device() {
    int device = 0;
    SKEIN_CUDA(cudaGetDevice(&device));
    SKEIN_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    SKEIN_CUDA(
        cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  }
};

struct Launch {
  void (*kernel)(Arguments);
  size_t ring_bytes, sum_bytes[2];  // sums without and with a cluster
};

template <int kTiles, int kColumnTiles, int kDepth, bool kInShared>
Launch MakeLaunch() {
  using S = skinny::Shapes<kTiles, kColumnTiles>;
  const size_t ring = kInShared ? static_cast<size_t>(kWarps) * kDepth * S::kSlot * 512 : 0;
  return {skinny::SkinnyKernel<kTiles, kColumnTiles, kDepth, kInShared>,
          ring,
          {S::SumBytes(1), S::SumBytes(2)}};
}

// Units in the ring of a warp: what the budget holds, at least two.
constexpr int SharedDepth(int tiles, int column_tiles, int budget) {
  return std::max(2, budget / (kWarps * (tiles * 2 + column_tiles) * 512));
}
// As many registers of weights under way as sums and x leave.
constexpr int RegisterDepth(int tiles, int column_tiles) {
  return std::max(2, (17 - 3 * column_tiles) / tiles);
}

template <int kTiles, int kColumnTiles>
Launch ForRing(SkinnyTuning::Ring ring) {
  if (ring == SkinnyTuning::Ring::kWideShared) {
    return MakeLaunch<kTiles, kColumnTiles, SharedDepth(kTiles, kColumnTiles, 160 << 10), true>();
  }
  if (ring == SkinnyTuning::Ring::kRegisters) {
    return MakeLaunch<kTiles, kColumnTiles, RegisterDepth(kTiles, kColumnTiles), false>();
  }
  return MakeLaunch<kTiles, kColumnTiles, SharedDepth(kTiles, kColumnTiles, 96 << 10), true>();
}

template <int kColumnTiles>
Launch ForTiles(int tiles, SkinnyTuning::Ring ring) {
  switch (tiles) {
    case 1:
      return ForRing<1, kColumnTiles>(ring);
    case 2:
      return ForRing<2, kColumnTiles>(ring);
    case 3:
      return ForRing<3, kColumnTiles>(ring);
    case 4:
      return ForRing<4, kColumnTiles>(ring);
    default:
      return ForRing<5, kColumnTiles>(ring);
  }
}

Launch Find(int64_t rows, int tiles, SkinnyTuning::Ring ring) {
  if (rows <= 8) return ForTiles<1>(tiles, ring);
  if (rows <= 16) return ForTiles<2>(tiles, ring);
  return ForTiles<4>(tiles, ring);
}

int32_t CeilDivide(int64_t value, int64_t by) {
  return static_cast<int32_t>((value + by - 1) / by);
}

// Clusters that run at the same time, one block a multiprocessor: a cluster lies within a part of
// the GPU (GPC) whose multiprocessors come in pairs, so that larger ones leave some without work.
int MaxClusters(int64_t rows, const SkinnyTuning& tuning, unsigned cluster, const Device& device) {
  const auto kernel = Find(rows, tuning.tiles, tuning.ring).kernel;
  SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  device.shared_bytes));
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = cluster;
  config.blockDim = kThreads;
  config.dynamicSmemBytes = static_cast<size_t>(device.shared_bytes);
  config.attrs = &attribute;
  config.numAttrs = 1;
  int count = 0;
  SKEIN_CUDA(cudaOccupancyMaxActiveClusters(&count, kernel, &config));
  return std::max(count, 1);
}

void Start(Arguments& p, SkinnyTuning tuning, cudaStream_t stream) {
  const Device device;
  const auto cluster = static_cast<unsigned>(device.major >= 9 ? tuning.cluster : 1);
  // Equal runs over all multiprocessors; a run shorter than 8 outputs reads x more than weights.
  int64_t groups = std::max<int64_t>(device.processors / cluster, 1);
  if (cluster > 2) groups = std::min<int64_t>(groups, MaxClusters(p.rows, tuning, cluster, device));
  p.run = std::max(CeilDivide(p.outputs, groups), 8);
  const int32_t passes = CeilDivide(p.run, tuning.tiles * p.tile_outputs);
  p.step = CeilDivide(p.run, passes);
  const int tiles = CeilDivide(p.step, p.tile_outputs);
  const int32_t units = CeilDivide(p.k, kUnitColumns);
  p.block_units = CeilDivide(units, cluster);
  // Whole 128-byte lines to a warp, unless that gives some warps more turns than others.
  p.pair_shift = p.block_units % (2 * kWarps) == 0 || p.block_units > 32 * kWarps ? 1 : 0;
  p.block_units = CeilDivide(p.block_units, int64_t{1} << p.pair_shift) << p.pair_shift;

  Launch launch = Find(p.rows, tiles, tuning.ring);
  const auto bytes = [&] { return launch.ring_bytes + launch.sum_bytes[cluster > 1]; };
  for (const auto ring : {SkinnyTuning::Ring::kShared, SkinnyTuning::Ring::kRegisters}) {
    if (bytes() > static_cast<size_t>(device.shared_bytes)) launch = Find(p.rows, tiles, ring);
  }
  SKEIN_CUDA(cudaFuncSetAttribute(launch.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes())));
  const auto blocks = static_cast<unsigned>(CeilDivide(p.outputs, p.run)) * cluster;
  LaunchOverlappedInClusters(launch.kernel, cluster, blocks, kThreads, bytes(), stream, p);
}

bool IsAligned(const Matrix& matrix) {
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0;
}

Arguments MakeArguments(const Matrix& x, const Matrix& weight, const Matrix& out) {
  SKEIN_CHECK(IsSkinny(x, weight) && out.rows == x.rows, "rows %lld, k %lld, %lld",
              static_cast<long long>(x.rows), static_cast<long long>(x.cols),
              static_cast<long long>(weight.cols));
  Arguments p{};
  p.weight = weight.As<const __nv_bfloat16>();
  p.stride = weight.stride;
  p.x = x.As<const __nv_bfloat16>();
  p.x_stride = x.stride;
  p.out = out.data;
  p.out_stride = out.stride;
  p.rows = static_cast<int32_t>(x.rows);
  p.k = static_cast<int32_t>(x.cols);
  p.outputs = static_cast<int32_t>(out.cols);
  p.out_float = out.type == DType::kFloat32;
  return p;
}

}  // namespace

bool IsSkinny(const Matrix& x, const Matrix& weight) {
  return x.rows > 0 && x.rows <= kSkinnyMaxRows && x.type == DType::kBFloat16 &&
         weight.type == DType::kBFloat16 && x.cols == weight.cols && x.cols % 8 == 0 &&
         IsAligned(x) && IsAligned(weight);
}

SkinnyTuning ChooseSkinnyTuning(int64_t rows, int64_t k) {
  if (rows <= 8) return {SkinnyTuning::Ring::kWideShared, 1, 4};
  const int cluster = 2;
  // Passes over the same columns find a block's part of x in the L1 cache where it fits, so that
  // small tiles, with more of them under way, are best; where it does not, a pass of many outputs
  // reads less of x.
  const int64_t x_bytes = rows * k * 2 / cluster;
  return {SkinnyTuning::Ring::kShared, cluster, rows <= 8 || x_bytes <= (96 << 10) ? 3 : 5};
}

std::string Name(const SkinnyTuning& tuning) {
  static constexpr const char* kRings[] = {"registers", "shared", "wide"};
  return std::string(kRings[static_cast<int>(tuning.ring)]) + " cluster " +
         std::to_string(tuning.cluster) + " tiles " + std::to_string(tuning.tiles);
}

void SkinnyProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
                   const SkinnyTuning& tuning, cudaStream_t stream) {
  SKEIN_CHECK(out.cols == weight.rows, "out has %lld columns, weight %lld rows",
              static_cast<long long>(out.cols), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = 8 * weight.stride;
  p.tile_outputs = 16;
  p.half = 8;
  p.bias = bias;
  Start(p, tuning, stream);
}

void SkinnySwiGlu(const Matrix& x, const Matrix& weight, const Matrix& out,
                  const SkinnyTuning& tuning, cudaStream_t stream) {
  SKEIN_CHECK(2 * out.cols == weight.rows && out.type == DType::kBFloat16,
              "out has %lld columns of %s, weight %lld rows", static_cast<long long>(out.cols),
              Name(out.type), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = out.cols * weight.stride;
  p.tile_outputs = 8;
  p.half = 0;
  p.swiglu = true;
  Start(p, tuning, stream);
}

}  // namespace skein::cuda
