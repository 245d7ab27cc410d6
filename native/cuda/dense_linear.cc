// Dense bfloat16 linears: few rows through our own product, which reads the weight at the memory's
// speed; more of them with a large weight through our wide one, where there are warpgroup products
// (Hopper); the rest through cuBLASLt. All read the same copy of the weight.
#include "cuda/cuda_linear.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda/linear_parts.h"

namespace skein::cuda {
namespace {

// Our own product is used up to kSkinnyMaxRows rows, but never for weights beyond these sizes, the
// head. Measured on an H200 (4.44 TB/s) with the 38 B model's weights, microseconds of our own
// product and of the fastest that cuBLASLt has; gate_up with SwiGLU, which our kernel includes:
//
//             [7168 x 5120]  [5120 x 5120]  gate_up       [5120 x 27648]  [151680 x 5120]
//    1 row    19.2, 22.4     14.1, 15.4     139.1, 136.1  68.6, 72.0      374, 355
//    8 rows   20.5, 23.0     15.4, 15.6     143.8, 137.8  71.1, 73.7      391, 360
//   16 rows   22.8, 20.6     17.6, 15.8     150.0, 139.7  77.3, 73.3      406, 362
//
// gate_up stays ours, since it saves a launch, and its blocks fetch weights while the kernel before
// them ends. At a quarter of the widths ours is ahead there too (35.6, 38.6). With 16 rows it has
// fallen behind everywhere, and the head is long enough for cuBLASLt to reach the memory's rate at
// any number.
constexpr int64_t kMostOwnOutputs = 100'000;
constexpr int64_t kMostOwnBytes = int64_t{1} << 30;

// Our wide product takes weights of so many outputs, which fill the GPU with whole pieces, at these
// numbers of rows. Measured on an H100 (3.10 TB/s), microseconds of cuBLASLt and of the wide
// product:
//
//                gate_up, SwiGLU  head      [5120 x 27648]  [7168 x 5120]  [5120 x 5120]
//      16 rows   197, 196         530, 515  102, 102        27, 31         21, 27
//      64        210, 199         551, 530  104, 111        29, 35         22, 32
//      96        214, 199                   109, 117        29, 39         23, 36
//     256        241, 243         609, 602  120, 129        33, 48         28, 41
//   1,024        848, 811                   409, 435        108, 109       78, 103
//   2,048        1747, 1769                 842, 877        195, 210       161, 198
//
// In a row with the layer's other products it is behind at 256 and 512 rows (455 to 464 instead of
// 443 to 446), and ahead at 1,024 (1,423 to 1,460 instead of 1,533 to 1,604).
constexpr int64_t kFewestWideOutputs = 32'768;

bool IsWide(int64_t rows) { return (rows > kSkinnyMaxRows && rows <= 96) || rows > 512; }

int64_t OwnRows(int64_t in, int64_t out) {
  const bool is_ours = out <= kMostOwnOutputs && in * out * 2 <= kMostOwnBytes;
  return is_ours && HasSkinnyProduct() ? kSkinnyMaxRows : 0;
}

class DenseLinear final : public CudaLinear {
 public:
  DenseLinear(const RawLinear& raw, DeviceArena& arena, const ProductWorkspace& workspace)
      : workspace_(workspace),
        in_(raw.in_features),
        out_(raw.out_features),
        weight_(UploadBFloat16(raw.weight, arena)),
        bias_(raw.bias, arena),
        own_rows_(workspace.deterministic() ? 0 : OwnRows(in_, out_)) {}

  int64_t in_features() const override { return in_; }
  int64_t out_features() const override { return out_; }
  size_t weight_bytes() const override { return static_cast<size_t>(in_ * out_) * 2 + bias_.bytes; }
  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    if (IsOwn(x)) {
      SkinnyProduct(x, Weight(), bias_.For(out.type), out, stream);
    } else if (!RunWide(MakeOperands(x, bias_, out, false, workspace_), stream)) {
      blas.Product(x, Weight(), bias_.For(out.type), out);
    }
  }
  bool RunSwiGlu(const Matrix& x, const Matrix& out, Stream& stream) const override {
    if (RunWide(MakeOperands(x, bias_, out, true, workspace_), stream)) return true;
    if (!IsOwn(x) || bias_.For(out.type) != nullptr) return false;
    SkinnySwiGlu(x, Weight(), out, stream);
    return true;
  }
  bool RunAdded(const Matrix& x, const float* bias, const float* scale, const Matrix& residual,
                BlasLt& blas, Stream& stream) const override {
    if (x.rows < kFewestAddedRows || bias_.as_float != nullptr || workspace_.deterministic()) {
      return false;
    }
    if (RunWide(MakeAddedOperands(x, bias, scale, residual, workspace_), stream)) return true;
    if (bias != nullptr || scale != nullptr) return false;
    blas.AddProduct(x, Weight(), residual);
    return true;
  }

 private:
  // False, with nothing done, where another way is better or the only one.
  bool RunWide(const ProductOperands& operands, Stream& stream) const {
    if (!IsWide(operands.rows) || out_ < kFewestWideOutputs || workspace_.deterministic() ||
        !DenseWideTakes(Weight(), operands, workspace_.device())) {
      return false;
    }
    const WidePlan plan = PlanDenseWide(Weight(), operands.rows, workspace_.device());
    SKEIN_CHECK(WidePartialBytes(plan) <= workspace_.partial_bytes(), "%zu bytes of partial sums",
                WidePartialBytes(plan));
    DenseWideProduct(Weight(), operands, plan, stream);
    return true;
  }
  Matrix Weight() const { return MakeMatrix(weight_, DType::kBFloat16, out_, in_); }
  bool IsOwn(const Matrix& x) const { return x.rows <= own_rows_ && IsSkinny(x, Weight()); }

  const ProductWorkspace& workspace_;
  const int64_t in_, out_;
  void* const weight_;
  const LinearBias bias_;
  // The row limit of our own product; none where the bits of a row must not depend on how many rows
  // there are: cuBLASLt's fixed algorithm then takes few rows as it takes many.
  const int64_t own_rows_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw, DeviceArena& arena,
                                            const ProductWorkspace& workspace) {
  return std::make_unique<DenseLinear>(raw, arena, workspace);
}

}  // namespace skein::cuda
