// How products of few rows are cut for the device at hand, and which instance of the kernel takes
// them.
#include <algorithm>

#include "cuda/kernels/skinny_kernel.cuh"
#include "cuda/kernels/skinny_product.h"

namespace skein::cuda {
namespace {

using skinny::Arguments;
using skinny::kMostSharedBytes;
using skinny::kThreads;
using skinny::kUnitColumns;
using skinny::kWarps;

constexpr int kMaxTiles = 4;

int DeviceValue(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

int32_t CeilDivide(int64_t value, int64_t by) {
  return static_cast<int32_t>((value + by - 1) / by);
}

struct Instance {
  void (*kernel)(Arguments);
  int shared_bytes;
};
template <typename S>
constexpr Instance kInstance = {skinny::SkinnyKernel<S>, S::kBytes};
template <bool kFloat8>
constexpr Instance kInstances[kMaxTiles] = {
    kInstance<skinny::Shapes<1, kFloat8>>, kInstance<skinny::Shapes<2, kFloat8>>,
    kInstance<skinny::Shapes<3, kFloat8>>, kInstance<skinny::Shapes<4, kFloat8>>};

void Start(Arguments& p, Stream& stream) {
  // Equal runs over all multiprocessors; a run shorter than 8 outputs reads x more than weights.
  p.run = std::max(CeilDivide(p.outputs, DeviceValue(cudaDevAttrMultiProcessorCount)), 8);
  // Passes as few, then as even, as can be.
  const int32_t passes = CeilDivide(p.run, kMaxTiles * p.tile_outputs);
  p.step = CeilDivide(p.run, passes);
  const int tiles = CeilDivide(p.step, p.tile_outputs);
  // Of float8, whole 128-byte lines to a warp, unless that gives some warps more turns than others.
  const int32_t units = CeilDivide(p.k, kUnitColumns);
  const bool is_float8 = p.x_scales != nullptr;
  p.pair_shift = is_float8 && (units % (2 * kWarps) == 0 || units > 32 * kWarps) ? 1 : 0;
  p.warp_units = CeilDivide(units, kWarps << p.pair_shift) << p.pair_shift;

  const auto [kernel, shared_bytes] =
      is_float8 ? kInstances<true>[tiles - 1] : kInstances<false>[tiles - 1];
  SKEIN_CUDA(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
  LaunchOverlapped(kernel, dim3(static_cast<unsigned>(CeilDivide(p.outputs, p.run))),
                   dim3(kThreads), static_cast<size_t>(shared_bytes), stream, p);
}

bool IsAligned(const Matrix& matrix) {
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0;
}

Arguments Operands(const Matrix& x, const Matrix& weight, const Matrix& out) {
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

Arguments MakeArguments(const Matrix& x, const Matrix& weight, const Matrix& out) {
  SKEIN_CHECK(IsSkinny(x, weight) && out.rows == x.rows, "rows %lld, k %lld, %lld",
              static_cast<long long>(x.rows), static_cast<long long>(x.cols),
              static_cast<long long>(weight.cols));
  return Operands(x, weight, out);
}

Arguments MakeFloat8Arguments(const Matrix& x, const float* x_scales, const Matrix& weight,
                              const float* weight_scales, const Matrix& out) {
  SKEIN_CHECK(x.rows > 0 && x.rows <= kSkinnyMaxRows && out.rows == x.rows &&
                  x.cols == weight.cols && x.cols % 8 == 0 && IsAligned(x) && IsAligned(weight),
              "float8: rows %lld, k %lld, %lld pairs", static_cast<long long>(x.rows),
              static_cast<long long>(x.cols), static_cast<long long>(weight.cols));
  Arguments p = Operands(x, weight, out);
  p.x_scales = x_scales;
  p.weight_scales = weight_scales;
  return p;
}

}  // namespace

bool HasSkinnyProduct() {
  return DeviceValue(cudaDevAttrMaxSharedMemoryPerBlockOptin) >= kMostSharedBytes;
}

bool IsSkinny(const Matrix& x, const Matrix& weight) {
  return x.rows > 0 && x.rows <= kSkinnyMaxRows && x.type == DType::kBFloat16 &&
         weight.type == DType::kBFloat16 && x.cols == weight.cols && x.cols % 8 == 0 &&
         IsAligned(x) && IsAligned(weight);
}

void SkinnyProduct(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out,
                   Stream& stream) {
  SKEIN_CHECK(out.cols == weight.rows, "out has %lld columns, weight %lld rows",
              static_cast<long long>(out.cols), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = 8 * weight.stride;
  p.tile_outputs = 16;
  p.half = 8;
  p.bias = bias;
  Start(p, stream);
}

void SkinnySwiGlu(const Matrix& x, const Matrix& weight, const Matrix& out, Stream& stream) {
  SKEIN_CHECK(2 * out.cols == weight.rows && out.type == DType::kBFloat16,
              "out has %lld columns of %s, weight %lld rows", static_cast<long long>(out.cols),
              Name(out.type), static_cast<long long>(weight.rows));
  Arguments p = MakeArguments(x, weight, out);
  p.second = out.cols * weight.stride;
  p.tile_outputs = 8;
  p.half = 0;
  p.swiglu = true;
  Start(p, stream);
}

void SkinnyFloat8(const Matrix& x, const float* x_scales, const Matrix& weight,
                  const float* weight_scales, const void* bias, const Matrix& out, Stream& stream) {
  SKEIN_CHECK(out.cols == weight.rows, "out has %lld columns, weight %lld rows",
              static_cast<long long>(out.cols), static_cast<long long>(weight.rows));
  Arguments p = MakeFloat8Arguments(x, x_scales, weight, weight_scales, out);
  p.second = 8 * p.stride;
  p.tile_outputs = 16;
  p.half = 8;
  p.bias = bias;
  Start(p, stream);
}

void SkinnyFloat8SwiGlu(const Matrix& x, const float* x_scales, const Matrix& weight,
                        const float* weight_scales, const Matrix& out, Stream& stream) {
  SKEIN_CHECK(2 * out.cols == weight.rows && out.type == DType::kBFloat16,
              "out has %lld columns of %s, weight %lld rows", static_cast<long long>(out.cols),
              Name(out.type), static_cast<long long>(weight.rows));
  Arguments p = MakeFloat8Arguments(x, x_scales, weight, weight_scales, out);
  p.second = out.cols * p.stride;
  p.tile_outputs = 8;
  p.half = 0;
  p.swiglu = true;
  Start(p, stream);
}

}  // namespace skein::cuda
