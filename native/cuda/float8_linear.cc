// float8 linears on Hopper: rows of inputs become float8 first; few of them are multiplied by our
// product for few rows, more, or few by a large weight, by our wide one (product_rules.h). A
// pair of codes stands where the two kernels have one bfloat16.
#include <algorithm>
#include <vector>

#include "core/float8.h"
#include "cuda/cuda_linear.h"
#include "cuda/device_copy.h"
#include "cuda/float8_workspace.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda/linear_parts.h"
#include "cuda/product_rules.h"

namespace skein::cuda {
namespace {

class Float8Linear final : public CudaLinear {
 public:
  Float8Linear(const RawLinear& raw, DeviceArena& arena, Float8Workspace& workspace, Stream& stream)
      : workspace_(workspace),
        in_(raw.in_features),
        out_(raw.out_features),
        stride_(Float8Stride(in_)),
        input_scale_(raw.input_scale),
        scales_(arena.New<float>(static_cast<size_t>(out_))),
        bias_(raw.bias, arena) {
    if (raw.quantizes) {
      Quantize(raw.weight, arena, stream);
    } else {
      Adopt(raw.weight, arena);
      CopyAndWait(scales_, raw.weight_scales.data, static_cast<size_t>(out_) * sizeof(float));
    }
  }

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  bool ReadsFloat8() const override { return input_scale_ == 0; }
  size_t weight_bytes() const override {
    return static_cast<size_t>(Float8Bytes(in_, out_)) + bias_.bytes;
  }

  void Run(const Matrix& x, const Matrix& out, BlasLt&, Stream& stream) const override {
    const Float8Workspace::Rows rows = workspace_.Quantize(x, input_scale_, stream);
    const ProductOperands operands =
        Scaled(MakeOperands(rows.pairs, bias_, out, false, products()), rows.scales);
    if (Choose(operands) == ProductKernel::kWide) return RunWide(operands, stream);
    for (int64_t first = 0; first < x.rows; first += kSkinnyMaxRows) {
      const int64_t count = std::min(kSkinnyMaxRows, x.rows - first);
      SkinnyFloat8(rows.pairs.Rows(first, count), rows.scales + first, Weight(), scales_,
                   bias_.For(out.type), out.Rows(first, count), stream);
    }
  }

  bool RunSwiGlu(const Matrix& x, const Matrix& out, Stream& stream) const override {
    const ProductOperands operands =
        MakeOperands(workspace_.Pairs(x), bias_, out, true, products());
    const bool is_wide = Choose(operands) == ProductKernel::kWide;
    if (!is_wide &&
        (x.rows > kSkinnyMaxRows || bias_.as_float != nullptr || products().deterministic())) {
      return false;
    }
    const Float8Workspace::Rows rows = workspace_.Quantize(x, input_scale_, stream);
    if (is_wide) {
      RunWide(Scaled(operands, rows.scales), stream);
    } else {
      SkinnyFloat8SwiGlu(rows.pairs, rows.scales, Weight(), scales_, out, stream);
    }
    return true;
  }

  void RunGelu(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    ProductOperands operands = MakeOperands(workspace_.Pairs(x), bias_, out, false, products());
    operands.gelu = true;
    if (Choose(operands) != ProductKernel::kWide ||
        !DenseWideHasGelu(Weight(), x.rows, products())) {
      return CudaLinear::RunGelu(x, out, blas, stream);
    }
    const Float8Workspace::Rows rows = workspace_.Quantize(x, input_scale_, stream);
    RunWide(Scaled(operands, rows.scales), stream);
  }

  bool RunAdded(const Matrix& x, const float* bias, const float* scale, const Matrix& residual,
                BlasLt&, Stream& stream) const override {
    if (x.rows < kFewestAddedRows || bias_.as_float != nullptr ||
        !MayAdd(bias, scale, products())) {
      return false;
    }
    const ProductOperands operands =
        MakeAddedOperands(workspace_.Pairs(x), bias, scale, residual, products());
    if (Choose(operands) != ProductKernel::kWide) return false;
    const Float8Workspace::Rows rows = workspace_.Quantize(x, input_scale_, stream);
    RunWide(Scaled(operands, rows.scales), stream);
    return true;
  }

 private:
  // Codes as a file has them, where they lie, or, where rows must begin elsewhere, copied.
  void Adopt(const Matrix& weight, DeviceArena& arena) {
    SKEIN_CHECK(weight.type == DType::kFloat8E4M3, "a float8 weight of %s", Name(weight.type));
    if (weight.stride == stride_ && arena.Contains(weight.data) &&
        reinterpret_cast<uint64_t>(weight.data) % 16 == 0) {
      codes_ = weight.As<uint8_t>();
      return;
    }
    codes_ = arena.New<uint8_t>(static_cast<size_t>(out_ * stride_));
    SKEIN_CUDA(cudaMemset(codes_, 0, static_cast<size_t>(out_ * stride_)));
    SKEIN_CUDA(cudaMemcpy2D(codes_, static_cast<size_t>(stride_), weight.data,
                            static_cast<size_t>(weight.stride), static_cast<size_t>(in_),
                            static_cast<size_t>(out_), cudaMemcpyDefault));
    SKEIN_CUDA(cudaStreamSynchronize(nullptr));
  }

  void Quantize(const Matrix& weight, DeviceArena& arena, Stream& stream) {
    codes_ = arena.New<uint8_t>(static_cast<size_t>(out_ * stride_));
    std::vector<BFloat16> rounded;
    Matrix source = weight;
    if (weight.type == DType::kFloat32) {
      rounded.resize(static_cast<size_t>(out_ * in_));
      for (int64_t row = 0; row < out_; ++row) {
        ConvertElements(weight.Rows(row, 1).data, DType::kFloat32, rounded.data() + row * in_,
                        DType::kBFloat16, in_);
      }
      source = MakeMatrix(rounded.data(), DType::kBFloat16, out_, in_);
    }
    const DeviceView view(source);
    QuantizeRows(view.As<const __nv_bfloat16>(), in_, out_, in_, 0, codes_, scales_, stream);
    stream.Synchronize();
  }

  ProductKernel Choose(const ProductOperands& operands) const {
    return ChooseProduct(
        {WeightFormat::kFloat8, products().deterministic(), operands.gelu, operands.rows, out_},
        [&](ProductKernel kernel) {
          return kernel != ProductKernel::kWide ||
                 DenseWideTakes(Weight(), operands, products().device());
        });
  }

  ProductOperands Scaled(ProductOperands operands, const float* x_scales) const {
    operands.x_scales = x_scales;
    operands.weight_scales = scales_;
    return operands;
  }

  void RunWide(const ProductOperands& operands, Stream& stream) const {
    RunDenseWide(Weight(), operands, products(), stream);
  }

  const ProductWorkspace& products() const { return workspace_.products(); }
  Matrix Weight() const { return MakeMatrix(codes_, DType::kBFloat16, out_, stride_ / 2); }

  Float8Workspace& workspace_;
  const int64_t in_, out_, stride_;
  const float input_scale_;
  uint8_t* codes_ = nullptr;  // [out, stride]
  float* const scales_;       // [out]
  const LinearBias bias_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeFloat8Linear(const RawLinear& raw, DeviceArena& arena,
                                             Float8Workspace& workspace, Stream& stream) {
  return std::make_unique<Float8Linear>(raw, arena, workspace, stream);
}

}  // namespace skein::cuda
