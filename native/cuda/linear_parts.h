// What dense and AWQ linears share: weights and biases on their way to the device.
#pragma once

#include "cuda/device_arena.h"
#include "cuda/device_memory.h"
#include "cuda/product_workspace.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

// A matrix (host or device memory) as contiguous bfloat16 in the arena; itself, where it lies there
// already.
void* UploadBFloat16(const Matrix& source, DeviceArena& arena);

// A matrix as contiguous device memory: itself, where it is that, or a copy that goes with this.
class DeviceView {
 public:
  explicit DeviceView(const Matrix& source);
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  DeviceMemory copy_;
};

// A bias in both types that an output may have; null where there is none.
struct LinearBias {
  float* as_float = nullptr;
  void* as_bfloat16 = nullptr;
  size_t bytes = 0;

  LinearBias(const Matrix& host, DeviceArena& arena);
  const void* For(DType type) const { return type == DType::kFloat32 ? as_float : as_bfloat16; }
};

// Operands of a product of our own; with SwiGLU, out has half of its columns.
ProductOperands MakeOperands(const Matrix& x, const LinearBias& bias, const Matrix& out,
                             bool swiglu, const ProductWorkspace& workspace);
// The same of one that is added to `residual`, float32: += scale * (x W^T + bias).
ProductOperands MakeAddedOperands(const Matrix& x, const float* bias, const float* scale,
                                  const Matrix& residual, const ProductWorkspace& workspace);

// Whether a product may add to the residual by itself. In deterministic mode prompts would, and
// decodes would not: only where both leave the same bits, which is without a bias and a scale.
inline bool MayAdd(const float* bias, const float* scale, const ProductWorkspace& workspace) {
  return !workspace.deterministic() || (bias == nullptr && scale == nullptr);
}

// Whether the wide product does GELU itself. In deterministic mode it would for some numbers of
// rows, and for others, whose plans have other tiles, it would be a pass over rounded sums.
bool DenseWideHasGelu(const Matrix& weight, int64_t rows, const ProductWorkspace& workspace);

// The wide product of a dense weight, bfloat16 or float8, by the plan of the mode.
void RunDenseWide(const Matrix& weight, const ProductOperands& operands,
                  const ProductWorkspace& workspace, Stream& stream);

}  // namespace skein::cuda
