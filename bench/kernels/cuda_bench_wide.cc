// The wide products with dense weights of the 38 B model and its vision tower (Hopper) beside
// cuBLASLt: tiles, numbers of clusters, sums that are added to the residual, a layer's products in
// a row with the norms between them. Each is checked against cuBLASLt first.
#include <algorithm>
#include <string>
#include <vector>

#include "cuda/blas_lt.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda_bench.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

constexpr int64_t kMostRows = kTowerRows;

constexpr ProductShape kParts[] = {
    {"gate_up swiglu / 2", kWidth, kHidden, ProductKind::kSwiGlu},
    {"gate_up swiglu / 4", kWidth / 2, kHidden, ProductKind::kSwiGlu}};
constexpr ProductShape kHead = {"head", 151680, kHidden, ProductKind::kHalf};

class WideBench {
 public:
  explicit WideBench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        weights_(static_cast<size_t>(2 * 151680 * kHidden) * 2),
        x_(static_cast<size_t>(kMostRows * kWidth) * 2),
        out_(static_cast<size_t>(kMostRows * 2 * kWidth) * 4),
        expected_(out_.bytes()),
        partial_(WideMostPartialBytes(device_)),
        blas_(stream_, BlasChoice::kTimed) {
    FillRandomBFloat16(weights_.data(), static_cast<int64_t>(weights_.bytes() / 2), 0.02f, 1,
                       stream_);
    FillRandomBFloat16(x_.data(), static_cast<int64_t>(x_.bytes() / 2), 1.0f, 2, stream_);
  }

  bool HasKernel() const { return device_.has_warpgroups; }

  // cuBLASLt; the chosen plan; the tiles next to it; pieces cut into equal shares.
  void Product(const ProductShape& shape, int64_t rows) {
    const Matrix x = MakeMatrix(x_.data(), DType::kBFloat16, rows, shape.inputs);
    const size_t bytes = Bytes(shape);
    const int copies = static_cast<int>(weights_.bytes() / bytes);
    const auto weight = [&](int i) {
      return Weight(shape, static_cast<size_t>(i % copies) * bytes);
    };
    const Matrix expected = shape.Out(expected_, rows), out = shape.Out(out_, rows);
    const auto measure = [&](const std::string& variant, const Matrix& result, bool is_reference,
                             const std::function<void(int, const Matrix&)>& launch) {
      Measurement m{shape.name,
                    Format("%lld x %lld", static_cast<long long>(shape.outputs),
                           static_cast<long long>(shape.inputs)),
                    variant,
                    rows,
                    0,
                    static_cast<double>(bytes)};
      SKEIN_CUDA(cudaMemsetAsync(result.data, 0, static_cast<size_t>(rows) * result.RowBytes(),
                                 stream_.ForDriver()));
      launch(0, result);
      if (!is_reference) {
        m.error = RelativeDifference(result.data, expected.data, rows * expected.cols,
                                     shape.kind == ProductKind::kAdded, stream_);
      }
      const double once = report_.BestMicroseconds([&] { launch(0, result); }, 1);
      m.microseconds = report_.Microseconds([&](int i) { launch(i, out); },
                                            std::clamp(static_cast<int>(3000 / once), 4, 40));
      report_.Print(m);
    };
    measure("cuBLASLt", expected, true,
            [&](int i, const Matrix& result) { Blas(shape, x, weight(i), result); });
    const auto wide = [&](const WidePlan& plan, const char* note) {
      measure(Format("tile %d x %d, %d clusters, %d waves, %d cut in %d%s",
                     kWideTiles[plan.tile].rows, kWideTiles[plan.tile].columns(), plan.clusters,
                     plan.waves, plan.cut, plan.shares, note),
              out, false, [&](int i, const Matrix& result) {
                DenseWideProduct(weight(i), Operands(shape, x, result), plan, stream_);
              });
    };
    const WidePlan chosen = PlanDenseWide(weight(0), rows, device_);
    wide(chosen, ", chosen");
    for (const int tile : {chosen.tile - 1, chosen.tile + 1}) {
      if (tile < 0 || tile >= kNumFreeWideTiles) continue;
      wide(PlanDenseWide(weight(0), rows, device_, tile), "");
    }
    if (chosen.cut == 0 || chosen.shares > chosen.cut) return;
    wide(PlanWide(shape.outputs, shape.inputs, rows, device_, chosen.tile, 0, WideRest::kEqual),
         "");
  }

  // A product of the tower, what it adds to the residual with a bias and a scale, and the norm
  // behind that.
  void AddedWithBiasAndScale(const ProductShape& shape, int64_t rows) {
    const Matrix x = MakeMatrix(x_.data(), DType::kBFloat16, rows, shape.inputs);
    const Matrix weight = Weight(shape, 0), partial = shape.Out(expected_, rows),
                 residual = shape.Out(out_, rows);
    const auto values = static_cast<size_t>(shape.outputs);
    const DeviceMemory ones(values * sizeof(float)), normed(static_cast<size_t>(rows) * values * 2);
    FillFloats(ones, 1.0f);
    const auto* one = ones.As<float>();
    const NormArguments norm{false, one, nullptr, 1e-6f};
    SKEIN_CUDA(cudaMemsetAsync(residual.data, 0, static_cast<size_t>(rows) * residual.RowBytes(),
                               stream_.ForDriver()));
    const auto measure = [&](const char* variant, const std::function<void()>& launch) {
      Measurement m{Format("%s, added with bias and scale, and a norm", shape.name),
                    Format("%lld x %lld", static_cast<long long>(shape.outputs),
                           static_cast<long long>(shape.inputs)),
                    variant,
                    rows,
                    0,
                    static_cast<double>(Bytes(shape))};
      m.microseconds = report_.Microseconds([&](int) { launch(); }, 4);
      report_.Print(m);
    };
    measure("cuBLASLt, added by the norm", [&] {
      blas_.Product(x, weight, nullptr, partial);
      AddResidualNorm(partial.As<float>(), partial.stride, one, one, residual.As<float>(),
                      residual.stride, &norm, rows, shape.outputs, normed.As<__nv_bfloat16>(),
                      shape.outputs, stream_);
    });
    ProductOperands operands = Operands(shape, x, residual);
    operands.bias = operands.scale = one;
    measure("wide, added by the product", [&] {
      DenseWideProduct(weight, operands, PlanDenseWide(weight, rows, device_), stream_);
      Norm(residual.As<float>(), residual.stride, norm, rows, shape.outputs,
           normed.As<__nv_bfloat16>(), shape.outputs, stream_);
    });
  }

  // The products of a layer in their order with its norms.
  void Layer(int64_t rows) {
    size_t starts[5] = {};
    for (size_t i = 0; i < 4; ++i) starts[i + 1] = starts[i] + Bytes(kLayer[i]);
    const auto layers = static_cast<int>(weights_.bytes() / starts[4]);
    const LayerMatrices layer_matrices(out_, rows, stream_);
    const auto& [x, qkv, partial, residual, gated] = layer_matrices;
    const DeviceMemory ones(kHidden * sizeof(float));
    FillFloats(ones, 1.0f);
    const NormArguments norm{false, ones.As<float>(), nullptr, 1e-6f};
    const auto normalise = [&] {
      Norm(residual.As<float>(), residual.stride, norm, rows, kHidden, x.As<__nv_bfloat16>(),
           x.stride, stream_);
    };
    const auto add = [&] {
      AddResidualNorm(partial.As<float>(), partial.stride, nullptr, nullptr, residual.As<float>(),
                      residual.stride, &norm, rows, kHidden, x.As<__nv_bfloat16>(), x.stride,
                      stream_);
    };
    const auto measure = [&](const char* variant, const auto& product, const auto& end) {
      Measurement m{"layer", "four products, two norms",    variant, rows,
                    0,       static_cast<double>(starts[4])};
      normalise();
      m.microseconds = report_.Microseconds(
          [&](int layer) {
            const auto weight = [&](size_t i) {
              return Weight(kLayer[i], static_cast<size_t>(layer % layers) * starts[4] + starts[i]);
            };
            product(kLayer[0], x, weight(0), qkv);
            end(kLayer[1], qkv.Cols(0, kHidden), weight(1));
            product(kLayer[2], x, weight(2), gated);
            end(kLayer[3], gated, weight(3));
          },
          4);
      report_.Print(m);
    };
    const auto wide = [&](const ProductShape& shape, const Matrix& a, const Matrix& w,
                          const Matrix& c) {
      DenseWideProduct(w, Operands(shape, a, c), PlanDenseWide(w, rows, device_), stream_);
    };
    const auto blas = [&](const ProductShape& shape, const Matrix& a, const Matrix& w,
                          const Matrix& c) { Blas(shape, a, w, c); };
    const auto blas_end = [&](const ProductShape&, const Matrix& a, const Matrix& w) {
      blas_.Product(a, w, nullptr, partial);
      add();
    };
    // As the back end does it.
    const auto mixed = [&](const ProductShape& shape, const Matrix& a, const Matrix& w,
                           const Matrix& c) {
      shape.kind == ProductKind::kSwiGlu ? wide(shape, a, w, c) : Blas(shape, a, w, c);
    };
    measure("cuBLASLt", blas, blas_end);
    measure("wide gate and up", mixed, blas_end);
    if (rows > BlasLt::kMaxTimedRows) {
      const auto blas_added = [&](const ProductShape&, const Matrix& a, const Matrix& w) {
        blas_.AddProduct(a, w, residual);
        normalise();
      };
      measure("cuBLASLt, added to the residual", blas, blas_added);
      measure("wide gate and up, added to the residual", mixed, blas_added);
    }
    measure("all wide, added to the residual", wide,
            [&](const ProductShape& shape, const Matrix& a, const Matrix& w) {
              wide(shape, a, w, residual);
              normalise();
            });
  }

 private:
  static size_t Bytes(const ProductShape& shape) {
    return static_cast<size_t>(shape.outputs * shape.inputs) * 2;
  }
  Matrix Weight(const ProductShape& shape, size_t start) const {
    return MakeMatrix(weights_.As<char>() + start, DType::kBFloat16, shape.outputs, shape.inputs);
  }
  ProductOperands Operands(const ProductShape& shape, const Matrix& x, const Matrix& out) const {
    return WideOperands(shape, x, out, partial_);
  }
  // Gate and up pass through memory in bfloat16, and so does what GELU is of, as the back end does
  // it.
  void Blas(const ProductShape& shape, const Matrix& x, const Matrix& weight, const Matrix& out) {
    if (shape.kind != ProductKind::kSwiGlu) {
      blas_.Product(x, weight, nullptr, out);
      if (shape.kind == ProductKind::kGelu) {
        BiasGelu(out.As<__nv_bfloat16>(), out.stride, nullptr, out.rows, out.cols, true, stream_);
      }
      return;
    }
    char* end = expected_.As<char>() + expected_.bytes();
    const Matrix gate_up = MakeMatrix(end - static_cast<size_t>(x.rows * weight.rows) * 2,
                                      DType::kBFloat16, x.rows, weight.rows);
    blas_.Product(x, weight, nullptr, gate_up);
    SwiGlu(gate_up.As<const __nv_bfloat16>(), gate_up.stride, x.rows, out.cols,
           out.As<__nv_bfloat16>(), out.stride, stream_);
  }
  static void FillFloats(const DeviceMemory& memory, float value) {
    const std::vector<float> values(memory.bytes() / sizeof(float), value);
    SKEIN_CUDA(cudaMemcpy(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice));
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  const DeviceMemory weights_, x_, out_, expected_, partial_;
  BlasLt blas_;
};

void BenchWide(Report& report) {
  WideBench bench(report);
  if (!bench.HasKernel()) {
    report.PrintSkipped({"wide product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const int64_t rows : {16, 32, 64, 96, 128, 192, 256, 512, 1024, 1536, 2048}) {
    for (const ProductShape& shape : kLayer) bench.Product(shape, rows);
    for (const ProductShape& shape : kParts) bench.Product(shape, rows);
    bench.Layer(rows);
  }
  for (const int64_t rows : {16, 64, 128, 256}) bench.Product(kHead, rows);
  for (const ProductShape& shape : kTower) {
    bench.Product(shape, kTowerRows);
    if (shape.kind == ProductKind::kAdded) bench.AddedWithBiasAndScale(shape, kTowerRows);
  }
}

const BenchRegistration kRegistration("wide", &BenchWide);

}  // namespace
}  // namespace skein::cuda
