#include "cuda/linear_parts.h"

#include <vector>

#include "cuda/cuda_linear.h"
#include "cuda/device_copy.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/packed_sizes.h"
#include "cuda/product_rules.h"
#include "cuda/typed_views.h"

namespace skein::cuda {
namespace {

// By the mode.
WidePlan PlanFor(const Matrix& weight, int64_t rows, const ProductWorkspace& workspace) {
  const bool is_fixed = workspace.deterministic() || rows <= kMostFixedPlanRows;
  return is_fixed ? PlanDenseWideFixed(weight, rows, workspace.device())
                  : PlanDenseWide(weight, rows, workspace.device());
}

}  // namespace

void CudaLinear::RunGelu(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const {
  Run(x, out, blas, stream);
  BiasGelu(Out(out), out.stride, nullptr, out.rows, out.cols, true, stream);
}

void* UploadBFloat16(const Matrix& source, DeviceArena& arena) {
  // Loaded where it is to stay.
  if (source.type == DType::kBFloat16 && source.stride == source.cols &&
      arena.Contains(source.data)) {
    return source.data;
  }
  const auto count = static_cast<size_t>(source.rows * source.cols);
  void* memory = arena.Allocate(count * 2);
  if (source.type == DType::kBFloat16) {
    CopyRowsAndWait(memory, source);
    return memory;
  }
  SKEIN_CHECK(source.type == DType::kFloat32, "a weight of %s", Name(source.type));
  std::vector<BFloat16> rounded(count);
  for (int64_t row = 0; row < source.rows; ++row) {
    const float* values = source.As<const float>() + row * source.stride;
    for (int64_t col = 0; col < source.cols; ++col) {
      rounded[static_cast<size_t>(row * source.cols + col)] = BFloat16(values[col]);
    }
  }
  CopyAndWait(memory, rounded.data(), count * 2);
  return memory;
}

DeviceView::DeviceView(const Matrix& source) : data_(source.data) {
  cudaPointerAttributes attributes{};
  SKEIN_CUDA(cudaPointerGetAttributes(&attributes, source.data));
  if (attributes.type == cudaMemoryTypeDevice && source.stride == source.cols) return;
  copy_ = DeviceMemory(static_cast<size_t>(source.rows) * source.RowBytes());
  data_ = copy_.data();
  CopyRowsAndWait(copy_.data(), source);
}

LinearBias::LinearBias(const Matrix& host, DeviceArena& arena) {
  if (host.data == nullptr) return;
  const auto count = static_cast<size_t>(host.cols);
  as_float = arena.New<float>(count);
  CopyAndWait(as_float, host.data, count * sizeof(float));
  as_bfloat16 = UploadBFloat16(host, arena);
  bytes = static_cast<size_t>(LinearBiasBytes(host.cols));
}

ProductOperands MakeOperands(const Matrix& x, const LinearBias& bias, const Matrix& out,
                             bool swiglu, const ProductWorkspace& workspace) {
  ProductOperands operands{};
  operands.x = x.As<const __nv_bfloat16>();
  operands.x_stride = x.stride;
  operands.rows = x.rows;
  operands.bias = bias.as_float;
  operands.out = out.data;
  operands.out_is_float = out.type == DType::kFloat32;
  operands.out_stride = out.stride;
  operands.swiglu = swiglu;
  operands.partial = workspace.partial();
  return operands;
}

ProductOperands MakeAddedOperands(const Matrix& x, const float* bias, const float* scale,
                                  const Matrix& residual, const ProductWorkspace& workspace) {
  ProductOperands operands{};
  operands.x = x.As<const __nv_bfloat16>();
  operands.x_stride = x.stride;
  operands.rows = x.rows;
  operands.bias = bias;
  operands.out = residual.data;
  operands.out_is_float = true;
  operands.out_stride = residual.stride;
  operands.adds = true;
  operands.scale = scale;
  operands.partial = workspace.partial();
  return operands;
}

bool DenseWideHasGelu(const Matrix& weight, int64_t rows, const ProductWorkspace& workspace) {
  return !workspace.deterministic() && WideTileHasGelu(PlanFor(weight, rows, workspace).tile);
}

void RunDenseWide(const Matrix& weight, const ProductOperands& operands,
                  const ProductWorkspace& workspace, Stream& stream) {
  const WidePlan plan = PlanFor(weight, operands.rows, workspace);
  SKEIN_CHECK(WidePartialBytes(plan) <= workspace.partial_bytes(), "%zu bytes of partial sums",
              WidePartialBytes(plan));
  DenseWideProduct(weight, operands, plan, stream);
}

}  // namespace skein::cuda
