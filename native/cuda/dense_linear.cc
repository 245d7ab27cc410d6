// Dense bfloat16 linears: few rows through our own product, which reads the weight at the memory's
// speed; many through cuBLASLt. Both read the same copy of the weight.
#include <algorithm>
#include <iterator>

#include "cuda/cuda_linear.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda/linear_parts.h"

namespace skein::cuda {
namespace {

// Rows up to which our own product is used, for weights of at least so many bytes; larger weights
// first. Every block reads the rows of x for its own columns, once a pass over some 60 weight rows,
// so that the L2 cache gives rows / 60 of the weight on top of it; with more than 32 rows that
// bounds the product, and cuBLASLt's wide tiles are better. A small weight is a matter of latency,
// not of bandwidth: a block's few, long runs gain nothing there once there are more rows than two
// tiles hold.
struct RowLimit {
  size_t weight_bytes;
  int64_t rows;
};
constexpr RowLimit kOwnProduct[] = {{size_t{8} << 20, 8}, {0, 8}};

int64_t OwnRows(size_t weight_bytes) {
  return std::find_if(std::begin(kOwnProduct), std::end(kOwnProduct),
                      [&](const RowLimit& limit) { return weight_bytes >= limit.weight_bytes; })
      ->rows;
}

class DenseLinear final : public CudaLinear {
 public:
  DenseLinear(const RawLinear& raw, DeviceArena& arena, bool deterministic)
      : in_(raw.in_features),
        out_(raw.out_features),
        weight_(UploadBFloat16(raw.weight, arena)),
        bias_(raw.bias, arena),
        own_rows_(deterministic ? 0 : OwnRows(static_cast<size_t>(in_ * out_) * 2)) {}

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override { return static_cast<size_t>(in_ * out_) * 2 + bias_.bytes; }
  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, cudaStream_t stream) const override {
    if (IsOwn(x)) {
      SkinnyProduct(x, Weight(), bias_.For(out.type), out, ChooseSkinnyTuning(x.rows, in_), stream);
    } else {
      blas.Product(x, Weight(), bias_.For(out.type), out);
    }
  }
  bool RunSwiGlu(const Matrix& x, const Matrix& out, cudaStream_t stream) const override {
    if (!IsOwn(x) || bias_.For(out.type) != nullptr) return false;
    SkinnySwiGlu(x, Weight(), out, ChooseSkinnyTuning(x.rows, in_), stream);
    return true;
  }

 private:
  Matrix Weight() const { return MakeMatrix(weight_, DType::kBFloat16, out_, in_); }
  bool IsOwn(const Matrix& x) const { return x.rows <= own_rows_ && IsSkinny(x, Weight()); }

  const int64_t in_, out_;
  void* const weight_;
  const LinearBias bias_;
  // The row limit of our own product; none where the bits of a row must not depend on how many rows
  // there are: cuBLASLt's fixed algorithm then takes few rows as it takes many.
  const int64_t own_rows_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw, DeviceArena& arena,
                                            bool deterministic) {
  return std::make_unique<DenseLinear>(raw, arena, deterministic);
}

}  // namespace skein::cuda
