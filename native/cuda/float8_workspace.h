// Rows of inputs that have become float8, for the one product that reads them next: shared by all
// float8 linears of a back end. The norm in front of a product may have left them here.
#pragma once

#include <algorithm>
#include <set>

#include "cuda/device_memory.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/float8.h"
#include "cuda/product_workspace.h"
#include "ops/backend.h"

namespace skein::cuda {

class Float8Workspace {
 public:
  // `products` outlives this. Throws UNSUPPORTED_MODEL where the GPU is none for float8.
  explicit Float8Workspace(ProductWorkspace& products);

  const ProductWorkspace& products() const { return products_; }

  // Room for what this linear needs, however few rows are reserved; otherwise as Reserve.
  bool ReserveFor(const RawLinear& raw) {
    const bool moved = products_.ReserveWide();
    widths_.insert(raw.in_features);
    inputs_.Add(IsTowerLayer(raw.role), raw.in_features);
    return Reserve(StepLimits{}) || moved;
  }
  // Room for a step's tokens before the decoder's linears, and for its tiles before the tower's,
  // beside what there was; while nothing runs. True where memory moved: graphs that were recorded
  // refer to it.
  bool Reserve(const StepLimits& limits) {
    Forget();
    inputs_.AddTo(room_, limits.max_rows, limits.max_tiles * limits.vision_tokens);
    const auto code_bytes = static_cast<size_t>(room_.code_bytes);
    const auto scale_bytes = static_cast<size_t>(room_.scale_bytes());
    if (codes_.bytes() >= code_bytes && scales_.bytes() >= scale_bytes) return false;
    codes_ = DeviceMemory(code_bytes);
    scales_ = DeviceMemory(scale_bytes);
    return true;
  }

  // What Quantize(x) will be written to.
  Matrix Pairs(const Matrix& x) const {
    return MakeMatrix(codes_.data(), DType::kBFloat16, x.rows, Float8Stride(x.cols) / 2);
  }

  struct Rows {
    Matrix pairs;  // as ProductOperands has them
    const float* scales;
  };
  // Where a norm that writes `normed` is to leave float8, too; nowhere, if there is no room, or no
  // float8 linear reads rows of that width. The product that reads `normed` next, before anything
  // else writes it, finds it there. is_only: `normed` itself stays unwritten then.
  Float8Rows ForNorm(const Matrix& normed, bool is_only) {
    Forget();
    if (!HasRoom(normed) || !widths_.contains(normed.cols)) return {};
    made_ = normed;
    is_only_ = is_only;
    return {codes_.As<uint8_t>(), scales_.As<float>()};
  }

  // At the start of a step.
  void Forget() {
    made_ = Matrix{};
    is_only_ = false;
  }

  // x [rows, inputs] bfloat16, of no more rows than are reserved. input_scale: as in RawLinear.
  Rows Quantize(const Matrix& x, float input_scale, Stream& stream) {
    const bool is_made = made_.data != nullptr && made_.data == x.data && made_.rows == x.rows &&
                         made_.cols == x.cols && made_.stride == x.stride && input_scale == 0;
    SKEIN_CHECK(is_made || !is_only_, "float8: %lld rows that a norm left in float8 only",
                static_cast<long long>(x.rows));
    Forget();
    if (is_made) return {Pairs(x), scales_.As<float>()};
    SKEIN_CHECK(HasRoom(x), "float8: %lld rows of %lld inputs, room for %lld and %zu bytes",
                static_cast<long long>(x.rows), static_cast<long long>(x.cols),
                static_cast<long long>(room_.rows), codes_.bytes());
    QuantizeRows(x.As<const __nv_bfloat16>(), x.stride, x.rows, x.cols, input_scale,
                 codes_.As<uint8_t>(), scales_.As<float>(), stream);
    return {Pairs(x), scales_.As<float>()};
  }

 private:
  bool HasRoom(const Matrix& x) const {
    return static_cast<size_t>(x.rows * Float8Stride(x.cols)) <= codes_.bytes() &&
           x.rows <= room_.rows;
  }

  ProductWorkspace& products_;
  Float8Inputs inputs_;
  Float8Room room_;
  std::set<int64_t> widths_;
  Matrix made_;           // whose float8 the norm before has left,
  bool is_only_ = false;  // and nothing else
  DeviceMemory codes_, scales_;
};

}  // namespace skein::cuda
