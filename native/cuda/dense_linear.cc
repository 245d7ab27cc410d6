// Dense bfloat16 linears.
#include "cuda/cuda_linear.h"
#include "cuda/linear_parts.h"

namespace skein::cuda {
namespace {

class DenseLinear final : public CudaLinear {
 public:
  DenseLinear(const RawLinear& raw, DeviceArena& arena)
      : in_(raw.in_features),
        out_(raw.out_features),
        weight_(UploadBFloat16(raw.weight, arena)),
        bias_(raw.bias, arena) {}

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override { return static_cast<size_t>(in_ * out_) * 2 + bias_.bytes; }
  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, cudaStream_t) const override {
    blas.Product(x, MakeMatrix(weight_, DType::kBFloat16, out_, in_), bias_.For(out.type), out);
  }

 private:
  const int64_t in_, out_;
  void* const weight_;
  const LinearBias bias_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw, DeviceArena& arena) {
  return std::make_unique<DenseLinear>(raw, arena);
}

}  // namespace skein::cuda
