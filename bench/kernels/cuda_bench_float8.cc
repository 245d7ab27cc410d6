// The float8 products of the 38 B model's layers (Hopper): rows to float8, few rows and many, and a
// layer's products in a row with the norms and what makes their inputs float8 between them.
#include <algorithm>
#include <string>
#include <vector>

#include "core/float8.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/float8.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda_bench.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

constexpr int64_t kMostRows = 2048;
constexpr int64_t kMostInputs = std::max(kMostRows * kWidth, kTowerRows* kTowerWidth);

class Float8Bench {
 public:
  explicit Float8Bench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        weights_(kCopies * LayerBytes()),
        scales_(2 * kWidth * sizeof(float)),
        x_(static_cast<size_t>(kMostInputs) * 2),
        codes_(static_cast<size_t>(kMostInputs)),
        x_scales_(static_cast<size_t>(kTowerRows + 512) * sizeof(float)),
        out_(static_cast<size_t>(kMostRows * 2 * kWidth) * 4),
        partial_(WideMostPartialBytes(device_)) {
    FillRandomBFloat16(x_.data(), static_cast<int64_t>(x_.bytes() / 2), 1.0f, 2, stream_);
    // Codes of random values.
    for (size_t start = 0; start < weights_.bytes(); start += codes_.bytes()) {
      const auto rows = static_cast<int64_t>(std::min(codes_.bytes(), weights_.bytes() - start) /
                                             static_cast<size_t>(kHidden));
      const int64_t most = static_cast<int64_t>(x_.bytes()) / 2 / kHidden;
      QuantizeRows(x_.As<__nv_bfloat16>(), kHidden, std::min(rows, most), kHidden, 0,
                   weights_.As<uint8_t>() + start, out_.As<float>(), stream_);
    }
    const std::vector<float> ones(2 * kWidth, 1e-4f);
    SKEIN_CUDA(cudaMemcpy(scales_.data(), ones.data(), scales_.bytes(), cudaMemcpyHostToDevice));
  }

  bool HasKernel() const { return device_.has_warpgroups; }

  void Rows(int64_t rows, int64_t cols) {
    const int64_t most = static_cast<int64_t>(x_.bytes()) / 2 / (rows * cols);
    Measurement m{"rows to float8",
                  Format("%lld columns", static_cast<long long>(cols)),
                  "",
                  rows,
                  0,
                  static_cast<double>(rows * cols * 2)};
    m.microseconds = report_.Microseconds(
        [&](int i) {
          QuantizeRows(x_.As<__nv_bfloat16>() + (i % most) * rows * cols, cols, rows, cols, 0,
                       codes_.As<uint8_t>(), x_scales_.As<float>(), stream_);
        },
        20);
    report_.Print(m);
  }

  void Product(const ProductShape& shape, int64_t rows) {
    const size_t bytes = Bytes(shape);
    const int copies = static_cast<int>(weights_.bytes() / bytes);
    QuantizeRows(x_.As<__nv_bfloat16>(), shape.inputs, rows, shape.inputs, 0, codes_.As<uint8_t>(),
                 x_scales_.As<float>(), stream_);
    const auto measure = [&](const std::string& variant, const auto& launch) {
      Measurement m{shape.name,
                    Format("float8 %lld x %lld", static_cast<long long>(shape.outputs),
                           static_cast<long long>(shape.inputs)),
                    variant,
                    rows,
                    0,
                    static_cast<double>(bytes)};
      const double once = report_.BestMicroseconds([&] { launch(0); }, 1);
      m.microseconds =
          report_.Microseconds(launch, std::clamp(static_cast<int>(3000 / once), 4, 40));
      report_.Print(m);
    };
    const auto weight = [&](int i) {
      return Weight(shape, static_cast<size_t>(i % copies) * bytes);
    };
    if (rows <= kSkinnyMaxRows) {
      measure("few rows", [&](int i) { FewRows(shape, rows, weight(i), shape.Out(out_, rows)); });
    }
    if (rows < 8) return;
    const WidePlan chosen = PlanDenseWide(weight(0), rows, device_);
    for (const int tile : {chosen.tile - 1, chosen.tile, chosen.tile + 1}) {
      if (tile < 0 || tile >= kNumFreeWideTiles) continue;
      const WidePlan plan = PlanDenseWide(weight(0), rows, device_, tile);
      measure(Format("tile %d x %d, %d clusters, %d waves, %d cut in %d%s",
                     kWideTiles[plan.tile].rows, kWideTiles[plan.tile].columns(), plan.clusters,
                     plan.waves, plan.cut, plan.shares, tile == chosen.tile ? ", chosen" : ""),
              [&](int i) { Wide(shape, rows, weight(i), shape.Out(out_, rows), plan); });
    }
  }

  // As the back end does it, but for attention: the norms leave float8, too. Then with less between
  // the products, to see what that costs.
  void Layer(int64_t rows) {
    enum class Between { kAll, kNorms, kNothing };
    size_t starts[5] = {};
    for (size_t i = 0; i < 4; ++i) starts[i + 1] = starts[i] + Bytes(kLayer[i]);
    const LayerMatrices layer_matrices(out_, rows, stream_);
    const auto& [x, qkv, partial, residual, gated] = layer_matrices;
    const NormArguments norm{
        false, scales_.As<float>(), nullptr, 1e-6f, {codes_.As<uint8_t>(), x_scales_.As<float>()}};
    const bool adds = rows > 256;
    const auto product = [&](const ProductShape& shape, const Matrix& w, const Matrix& to) {
      if (rows <= kSkinnyMaxRows && shape.outputs < 32'768) {
        FewRows(shape, rows, w, to);
      } else {
        Wide(shape, rows, w, to, PlanDenseWide(w, rows, device_));
      }
    };
    const auto normalise = [&] {
      Norm(residual.As<float>(), residual.stride, norm, rows, kHidden, x.As<__nv_bfloat16>(),
           x.stride, stream_);
    };
    const auto end = [&](const ProductShape& shape, const Matrix& from, const Matrix& w,
                         Between between) {
      if (between == Between::kAll) {
        QuantizeRows(from.As<__nv_bfloat16>(), from.stride, rows, from.cols, 0,
                     codes_.As<uint8_t>(), x_scales_.As<float>(), stream_);
      }
      product(shape, w, adds ? residual : partial);
      if (between == Between::kNothing) return;
      if (adds) return normalise();
      AddResidualNorm(partial.As<float>(), partial.stride, nullptr, nullptr, residual.As<float>(),
                      residual.stride, &norm, rows, kHidden, x.As<__nv_bfloat16>(), x.stride,
                      stream_);
    };
    const auto measure = [&](const char* variant, Between between) {
      Measurement m{"layer", "float8, four products, two norms", variant, rows,
                    0,       static_cast<double>(starts[4])};
      normalise();
      m.microseconds = report_.Microseconds(
          [&](int layer) {
            const auto weight = [&](size_t i) {
              return Weight(kLayer[i],
                            static_cast<size_t>(layer % kCopies) * LayerBytes() + starts[i]);
            };
            product(kLayer[0], weight(0), qkv);
            end(kLayer[1], qkv.Cols(0, kHidden), weight(1), between);
            product(kLayer[2], weight(2), gated);
            end(kLayer[3], gated, weight(3), between);
          },
          4);
      report_.Print(m);
    };
    measure("all", Between::kAll);
    measure("without rows to float8", Between::kNorms);
    measure("products alone", Between::kNothing);
  }

 private:
  static constexpr int kCopies = 4;

  static size_t Bytes(const ProductShape& shape) {
    return static_cast<size_t>(shape.outputs * shape.inputs);
  }
  static size_t LayerBytes() {
    size_t bytes = 0;
    for (const ProductShape& shape : kLayer) bytes += Bytes(shape);
    return bytes;
  }
  // Pairs of codes.
  Matrix Weight(const ProductShape& shape, size_t start) const {
    return MakeMatrix(weights_.As<char>() + start, DType::kBFloat16, shape.outputs,
                      shape.inputs / 2);
  }
  Matrix X(const ProductShape& shape, int64_t rows) const {
    return MakeMatrix(codes_.data(), DType::kBFloat16, rows, shape.inputs / 2);
  }
  void FewRows(const ProductShape& shape, int64_t rows, const Matrix& w, const Matrix& out) const {
    const auto run = [&](auto product, auto... bias) {
      product(X(shape, rows), x_scales_.As<float>(), w, scales_.As<float>(), bias..., out, stream_);
    };
    shape.kind == ProductKind::kSwiGlu ? run(SkinnyFloat8SwiGlu)
                                       : run(SkinnyFloat8, static_cast<const void*>(nullptr));
  }
  void Wide(const ProductShape& shape, int64_t rows, const Matrix& w, const Matrix& out,
            const WidePlan& plan) const {
    ProductOperands operands = WideOperands(shape, X(shape, rows), out, partial_);
    operands.adds = operands.adds && rows > 256;
    operands.x_scales = x_scales_.As<float>();
    operands.weight_scales = scales_.As<float>();
    DenseWideProduct(w, operands, plan, stream_);
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  const DeviceMemory weights_, scales_, x_, codes_, x_scales_, out_, partial_;
};

void BenchFloat8(Report& report) {
  Float8Bench bench(report);
  if (!bench.HasKernel()) {
    report.PrintSkipped({"float8 product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const int64_t rows : {1, 16, 256, 1024}) {
    for (const int64_t cols : {kHidden, kWidth}) bench.Rows(rows, cols);
  }
  for (const int64_t rows : {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048}) {
    for (const ProductShape& shape : kLayer) bench.Product(shape, rows);
    bench.Layer(rows);
  }
  for (const int64_t cols : {kTowerHidden, kTowerWidth}) bench.Rows(kTowerRows, cols);
  for (const ProductShape& shape : kTower) bench.Product(shape, kTowerRows);
}

const BenchRegistration kRegistration("float8", &BenchFloat8);

}  // namespace
}  // namespace skein::cuda
