// Dense bfloat16 linears: few rows through our own product, which reads the weight at the memory's
// speed; more of them with a large weight, and in deterministic mode all, through our wide one,
// where there are warpgroup products (Hopper); the rest through cuBLASLt, as product_rules.h says.
// All read the same copy of the weight.
#include "cuda/cuda_linear.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda/linear_parts.h"
#include "cuda/packed_sizes.h"
#include "cuda/product_rules.h"

namespace skein::cuda {
namespace {

// Weights of more bytes are long enough for cuBLASLt to reach the memory's rate.
constexpr int64_t kMostOwnBytes = int64_t{1} << 30;

class DenseLinear final : public CudaLinear {
 public:
  DenseLinear(const RawLinear& raw, DeviceArena& arena, const ProductWorkspace& workspace)
      : workspace_(workspace),
        in_(raw.in_features),
        out_(raw.out_features),
        weight_(UploadBFloat16(raw.weight, arena)),
        bias_(raw.bias, arena),
        has_own_(in_ * out_ * 2 <= kMostOwnBytes && HasSkinnyProduct()) {}

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override {
    return static_cast<size_t>(DenseBytes(in_, out_)) + bias_.bytes;
  }
  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    const ProductOperands operands = MakeOperands(x, bias_, out, false, workspace_);
    switch (Choose(x, operands)) {
      case ProductKernel::kFewRows:
        return SkinnyProduct(x, Weight(), bias_.For(out.type), out, stream);
      case ProductKernel::kWide:
        return RunWide(operands, stream);
      default:
        return blas.Product(x, Weight(), bias_.For(out.type), out);
    }
  }
  bool RunSwiGlu(const Matrix& x, const Matrix& out, Stream& stream) const override {
    const ProductOperands operands = MakeOperands(x, bias_, out, true, workspace_);
    const ProductKernel kernel = Choose(x, operands);
    if (kernel == ProductKernel::kWide) {
      RunWide(operands, stream);
    } else if (kernel == ProductKernel::kFewRows && bias_.For(out.type) == nullptr) {
      SkinnySwiGlu(x, Weight(), out, stream);
    } else {
      return false;
    }
    return true;
  }
  void RunGelu(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    ProductOperands operands = MakeOperands(x, bias_, out, false, workspace_);
    operands.gelu = true;
    if (Choose(x, operands) == ProductKernel::kWide &&
        DenseWideHasGelu(Weight(), x.rows, workspace_)) {
      return RunWide(operands, stream);
    }
    CudaLinear::RunGelu(x, out, blas, stream);
  }
  bool RunAdded(const Matrix& x, const float* bias, const float* scale, const Matrix& residual,
                BlasLt& blas, Stream& stream) const override {
    if (x.rows < kFewestAddedRows || bias_.as_float != nullptr ||
        !MayAdd(bias, scale, workspace_)) {
      return false;
    }
    const ProductOperands operands = MakeAddedOperands(x, bias, scale, residual, workspace_);
    if (Choose(x, operands) == ProductKernel::kWide) {
      RunWide(operands, stream);
      return true;
    }
    if (bias != nullptr || scale != nullptr || workspace_.deterministic()) return false;
    blas.AddProduct(x, Weight(), residual);
    return true;
  }

 private:
  ProductKernel Choose(const Matrix& x, const ProductOperands& operands) const {
    return ChooseProduct(
        {WeightFormat::kDense, workspace_.deterministic(), operands.gelu, x.rows, out_},
        [&](ProductKernel kernel) {
          switch (kernel) {
            case ProductKernel::kFewRows:
              return has_own_ && IsSkinny(x, Weight());
            case ProductKernel::kWide:
              return DenseWideTakes(Weight(), operands, workspace_.device());
            default:
              return kernel == ProductKernel::kLibrary;
          }
        });
  }
  void RunWide(const ProductOperands& operands, Stream& stream) const {
    RunDenseWide(Weight(), operands, workspace_, stream);
  }
  Matrix Weight() const { return MakeMatrix(weight_, DType::kBFloat16, out_, in_); }

  const ProductWorkspace& workspace_;
  const int64_t in_, out_;
  void* const weight_;
  const LinearBias bias_;
  const bool has_own_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw, DeviceArena& arena,
                                            const ProductWorkspace& workspace) {
  return std::make_unique<DenseLinear>(raw, arena, workspace);
}

}  // namespace skein::cuda
