// The products of a decoder layer of the 38 B model, and the matrices of a step between them: what
// the benches share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/tensor.h"
#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/product.h"
#include "cuda/stream.h"

namespace skein::cuda {

constexpr int64_t kHidden = 5120, kQkv = 7168, kWidth = 27648;

// What becomes of a product: bfloat16, or its GELU; gate and up through SwiGLU; float32, added to
// the residual.
enum class ProductKind { kHalf, kGelu, kSwiGlu, kAdded };
struct ProductShape {
  const char* name;
  int64_t outputs, inputs;
  ProductKind kind;

  // Of one result [rows, cols].
  DType OutType() const { return kind == ProductKind::kAdded ? DType::kFloat32 : DType::kBFloat16; }
  int64_t OutCols() const { return kind == ProductKind::kSwiGlu ? outputs / 2 : outputs; }
  Matrix Out(const DeviceMemory& memory, int64_t rows) const {
    return MakeMatrix(memory.data(), OutType(), rows, OutCols());
  }
};
constexpr ProductShape kLayer[] = {{"qkv", kQkv, kHidden, ProductKind::kHalf},
                                   {"o", kHidden, kHidden, ProductKind::kAdded},
                                   {"gate_up swiglu", 2 * kWidth, kHidden, ProductKind::kSwiGlu},
                                   {"down", kHidden, kWidth, ProductKind::kAdded}};

// Of a layer of its vision tower, 5 tiles of it.
constexpr int64_t kTowerRows = 5 * 1025, kTowerHidden = 3200, kTowerWidth = 12800;
constexpr ProductShape kTower[] = {
    {"tower qkv", 3 * kTowerHidden, kTowerHidden, ProductKind::kHalf},
    {"tower proj", kTowerHidden, kTowerHidden, ProductKind::kAdded},
    {"tower fc1", kTowerWidth, kTowerHidden, ProductKind::kHalf},
    {"tower fc1 gelu", kTowerWidth, kTowerHidden, ProductKind::kGelu},
    {"tower fc2", kTowerHidden, kTowerWidth, ProductKind::kAdded}};

// What the wide product of a shape takes, but for float8's scales.
inline ProductOperands WideOperands(const ProductShape& shape, const Matrix& x, const Matrix& out,
                                    const DeviceMemory& partial) {
  ProductOperands operands{};
  operands.x = x.As<__nv_bfloat16>();
  operands.x_stride = x.stride;
  operands.rows = x.rows;
  operands.out = out.data;
  operands.out_is_float = out.type == DType::kFloat32;
  operands.out_stride = out.stride;
  operands.swiglu = shape.kind == ProductKind::kSwiGlu;
  operands.adds = shape.kind == ProductKind::kAdded;
  operands.gelu = shape.kind == ProductKind::kGelu;
  operands.partial = partial.As<float>();
  return operands;
}

// The matrices of a layer's step, one after the other in `memory`, so that no kernel writes
// what an earlier one may still read; the residual is zero.
struct LayerMatrices {
  LayerMatrices(const DeviceMemory& memory, int64_t rows, Stream& stream) {
    char* next = memory.As<char>();
    const auto take = [&](DType type, int64_t cols) {
      const Matrix matrix = MakeMatrix(next, type, rows, cols);
      next += static_cast<size_t>(rows * cols) * SizeOf(type);
      return matrix;
    };
    x = take(DType::kBFloat16, kHidden);
    qkv = take(DType::kBFloat16, kQkv);
    partial = take(DType::kFloat32, kHidden);
    residual = take(DType::kFloat32, kHidden);
    gated = take(DType::kBFloat16, kWidth);
    SKEIN_CUDA(cudaMemsetAsync(residual.data, 0, static_cast<size_t>(rows) * residual.RowBytes(),
                               stream.ForDriver()));
  }

  Matrix x, qkv, partial, residual, gated;
};

}  // namespace skein::cuda
