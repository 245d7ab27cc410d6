// What a product of a long prompt takes while the GPU does nothing else for half a second: by then
// its power holds it back, and kernels that are equally fast by themselves need not be. The other
// benches rest between measurements.
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>

#include "cuda/blas_lt.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/float8.h"
#include "cuda_bench.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

constexpr int64_t kRows = 2048;
constexpr int kLaunches = 8;
constexpr int kFirstTile = 3;  // of those with many rows

class SustainedBench {
 public:
  explicit SustainedBench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        weight_(static_cast<size_t>(2 * kWidth * kHidden) * 2),
        x_(static_cast<size_t>(kRows * kWidth) * 2),
        weight_codes_(weight_.bytes() / 2),
        x_codes_(x_.bytes() / 2),
        weight_scales_(static_cast<size_t>(2 * kWidth) * sizeof(float)),
        x_scales_(static_cast<size_t>(kRows + 512) * sizeof(float)),
        out_(static_cast<size_t>(kRows * 2 * kWidth) * 2),
        gate_up_(out_.bytes()),
        partial_(WideMostPartialBytes(device_)),
        blas_(stream_, BlasChoice::kTimed) {
    FillRandomBFloat16(weight_.data(), static_cast<int64_t>(weight_.bytes() / 2), 0.02f, 1,
                       stream_);
    FillRandomBFloat16(x_.data(), static_cast<int64_t>(x_.bytes() / 2), 1.0f, 2, stream_);
    SKEIN_CUDA(cudaMemsetAsync(x_scales_.data(), 0, x_scales_.bytes(), stream_.ForDriver()));
  }

  bool HasKernel() const { return device_.has_warpgroups; }

  void Product(const ProductShape& shape) {
    const Matrix x = MakeMatrix(x_.data(), DType::kBFloat16, kRows, shape.inputs);
    const Matrix weight = MakeMatrix(weight_.data(), DType::kBFloat16, shape.outputs, shape.inputs);
    const Matrix out = shape.Out(out_, kRows);
    const size_t bytes = static_cast<size_t>(shape.outputs * shape.inputs);
    // What is added to begins somewhere.
    SKEIN_CUDA(cudaMemsetAsync(out.data, 0, static_cast<size_t>(kRows) * out.RowBytes(),
                               stream_.ForDriver()));
    Measure(shape, "bfloat16, cuBLASLt", 2 * bytes, [&] { Blas(shape, x, weight, out); });
    ProductOperands operands = Operands(shape, x, out);
    for (int tile = kFirstTile; tile < kNumFreeWideTiles; ++tile) {
      const WidePlan plan = PlanDenseWide(weight, kRows, device_, tile);
      Measure(shape, "bfloat16, " + TileName(tile), 2 * bytes,
              [&] { DenseWideProduct(weight, operands, plan, stream_); });
    }
    const Matrix pairs = MakeMatrix(x_codes_.data(), DType::kBFloat16, kRows, shape.inputs / 2);
    const Matrix codes =
        MakeMatrix(weight_codes_.data(), DType::kBFloat16, shape.outputs, shape.inputs / 2);
    QuantizeRows(x.As<__nv_bfloat16>(), x.stride, kRows, shape.inputs, 0, x_codes_.As<uint8_t>(),
                 x_scales_.As<float>(), stream_);
    QuantizeRows(weight.As<__nv_bfloat16>(), weight.stride, shape.outputs, shape.inputs, 0,
                 weight_codes_.As<uint8_t>(), weight_scales_.As<float>(), stream_);
    operands = Operands(shape, pairs, out);
    operands.x_scales = x_scales_.As<float>();
    operands.weight_scales = weight_scales_.As<float>();
    for (int tile = kFirstTile; tile < kNumFreeWideTiles; ++tile) {
      const WidePlan plan = PlanDenseWide(codes, kRows, device_, tile);
      Measure(shape, "float8, " + TileName(tile), bytes,
              [&] { DenseWideProduct(codes, operands, plan, stream_); });
    }
  }

 private:
  static std::string TileName(int tile) {
    return "tile " + std::to_string(kWideTiles[tile].rows) + " x " +
           std::to_string(kWideTiles[tile].columns());
  }

  void Measure(const ProductShape& shape, const std::string& variant, size_t bytes,
               const std::function<void()>& launch) {
    using Clock = std::chrono::steady_clock;
    const auto run = [&] {
      for (int i = 0; i < kLaunches; ++i) launch();
    };
    Measurement m{shape.name,
                  std::to_string(shape.outputs) + " x " + std::to_string(shape.inputs),
                  variant + ", sustained",
                  kRows,
                  0,
                  static_cast<double>(bytes)};
    for (const auto end = Clock::now() + std::chrono::milliseconds(400); Clock::now() < end;) {
      run();
      stream_.Synchronize();
    }
    double sum = 0;
    int count = 0;
    for (const auto end = Clock::now() + std::chrono::milliseconds(200); Clock::now() < end;
         ++count) {
      sum += report_.BestMicroseconds(run, 1);
    }
    m.microseconds = sum / count / kLaunches;
    report_.Print(m);
  }

  // As the back end does it.
  void Blas(const ProductShape& shape, const Matrix& x, const Matrix& weight, const Matrix& out) {
    if (shape.kind == ProductKind::kAdded) return blas_.AddProduct(x, weight, out);
    if (shape.kind != ProductKind::kSwiGlu) return blas_.Product(x, weight, nullptr, out);
    const Matrix gate_up = MakeMatrix(gate_up_.data(), DType::kBFloat16, x.rows, weight.rows);
    blas_.Product(x, weight, nullptr, gate_up);
    SwiGlu(gate_up.As<const __nv_bfloat16>(), gate_up.stride, x.rows, out.cols,
           out.As<__nv_bfloat16>(), out.stride, stream_);
  }

  ProductOperands Operands(const ProductShape& shape, const Matrix& x, const Matrix& out) const {
    return WideOperands(shape, x, out, partial_);
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  const DeviceMemory weight_, x_, weight_codes_, x_codes_, weight_scales_, x_scales_, out_,
      gate_up_, partial_;
  BlasLt blas_;
};

void BenchSustained(Report& report) {
  SustainedBench bench(report);
  if (!bench.HasKernel()) {
    report.PrintSkipped({"sustained product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const ProductShape& shape : kLayer) bench.Product(shape);
}

const BenchRegistration kRegistration("sustained", &BenchSustained);

}  // namespace
}  // namespace skein::cuda
