// Dense bfloat16 products of few rows: cuBLASLt, and our own kernels in the cuts worth trying, over
// the products of a decoder of 38 billion parameters at world sizes 1 and 4.
#include <algorithm>
#include <string>
#include <vector>

#include "cuda/blas_lt.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

struct Shape {
  const char* name;
  int64_t outputs, k;
  DType out_type;
  bool swiglu;
};

constexpr Shape kShapes[] = {
    {"qkv", 7168, 5120, DType::kBFloat16, false},
    {"o", 5120, 5120, DType::kFloat32, false},
    {"gate_up", 55296, 5120, DType::kFloat32, false},
    {"gate_up swiglu", 55296, 5120, DType::kBFloat16, true},
    {"down", 5120, 27648, DType::kFloat32, false},
    {"head", 151680, 5120, DType::kFloat32, false},
    {"qkv / 4", 1792, 5120, DType::kBFloat16, false},
    {"o / 4", 5120, 1280, DType::kFloat32, false},
    {"gate_up swiglu / 4", 13824, 5120, DType::kBFloat16, true},
    {"down / 4", 5120, 6912, DType::kFloat32, false},
    {"head / 4", 37920, 5120, DType::kFloat32, false},
};

using Ring = SkinnyTuning::Ring;
constexpr SkinnyTuning kTunings[] = {
    {Ring::kShared, 1, 3},     {Ring::kShared, 1, 4},     {Ring::kShared, 2, 3},
    {Ring::kShared, 2, 5},     {Ring::kWideShared, 1, 4}, {Ring::kWideShared, 2, 5},
    {Ring::kWideShared, 4, 5}, {Ring::kRegisters, 1, 4},  {Ring::kRegisters, 2, 3},
};

constexpr int64_t kMaxOutputs = 151680, kMaxK = 27648, kMaxRows = 64;
// What a graph of a measurement takes, about.
constexpr double kGraphMicroseconds = 2500;

class ProductBench {
 public:
  explicit ProductBench(Report& report)
      : report_(report),
        weights_(static_cast<size_t>(2 * kMaxOutputs * 5120) * 2),
        x_(static_cast<size_t>(kMaxRows * kMaxK) * 2),
        out_(static_cast<size_t>(kMaxRows * kMaxOutputs) * 4),
        expected_(out_.bytes()),
        scratch_(out_.bytes()),
        heuristic_(report.stream(), BlasChoice::kHeuristic, 0),
        timed_(report.stream(), BlasChoice::kTimed, 0) {
    FillRandomBFloat16(weights_.data(), static_cast<int64_t>(weights_.bytes() / 2), 0.02f, 1,
                       report.stream());
    FillRandomBFloat16(x_.data(), static_cast<int64_t>(x_.bytes() / 2), 1.0f, 2, report.stream());
  }

  void Run(const Shape& shape, int64_t rows) {
    const size_t bytes = static_cast<size_t>(shape.outputs * shape.k) * 2;
    const int copies =
        std::min<int>(Report::RotatingCopies(bytes), static_cast<int>(weights_.bytes() / bytes));
    const int64_t cols = shape.swiglu ? shape.outputs / 2 : shape.outputs;
    const Matrix x = MakeMatrix(x_.data(), DType::kBFloat16, rows, shape.k),
                 out = MakeMatrix(out_.data(), shape.out_type, rows, cols),
                 expected = MakeMatrix(expected_.data(), shape.out_type, rows, cols),
                 scratch = MakeMatrix(scratch_.data(), DType::kFloat32, rows, shape.outputs);
    const auto weight = [&](int i) {
      return MakeMatrix(weights_.As<char>() + static_cast<size_t>(i % copies) * bytes,
                        DType::kBFloat16, shape.outputs, shape.k);
    };
    const int count = std::clamp(static_cast<int>(kGraphMicroseconds * 1e-6 * report_.read_rate() /
                                                  static_cast<double>(bytes)),
                                 4, 100);
    const auto measure = [&](const std::string& variant, const Matrix& result, bool is_reference,
                             const std::function<void(int, const Matrix&)>& launch) {
      Measurement m{shape.name, std::to_string(shape.outputs) + " x " + std::to_string(shape.k),
                    variant,    rows,
                    0,          static_cast<double>(bytes)};
      try {
        SKEIN_CUDA(cudaMemsetAsync(result.data, 0xff, static_cast<size_t>(rows) * result.RowBytes(),
                                   report_.stream()));
        launch(0, result);
        if (!is_reference) {
          m.error = RelativeDifference(result.data, expected.data, rows * cols,
                                       shape.out_type == DType::kFloat32, report_.stream());
        }
        m.microseconds = report_.Microseconds([&](int i) { launch(i, out); }, count);
        report_.Print(m);
      } catch (const Error& error) {
        report_.PrintSkipped(m, error.what());
      }
    };
    const auto blas = [&](BlasLt& lt) {
      return [&, rows](int i, const Matrix& result) {
        if (!shape.swiglu) return lt.Product(x, weight(i), nullptr, result);
        lt.Product(x, weight(i), nullptr, scratch);
        SwiGlu(scratch.As<float>(), scratch.stride, rows, cols, result.As<__nv_bfloat16>(),
               result.stride, report_.stream());
      };
    };
    measure("cuBLASLt heuristic", expected, true, blas(heuristic_));
    measure("cuBLASLt timed", out, false, blas(timed_));
    if (rows > kSkinnyMaxRows) return;
    for (const SkinnyTuning& tuning : kTunings) {
      measure(Name(tuning), out, false, [&](int i, const Matrix& result) {
        if (shape.swiglu) {
          SkinnySwiGlu(x, weight(i), result, tuning, report_.stream());
        } else {
          SkinnyProduct(x, weight(i), nullptr, result, tuning, report_.stream());
        }
      });
    }
  }

 private:
  Report& report_;
  const DeviceMemory weights_, x_, out_, expected_, scratch_;
  BlasLt heuristic_, timed_;
};

void BenchProducts(Report& report) {
  ProductBench bench(report);
  for (const Shape& shape : kShapes) {
    for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64}) bench.Run(shape, rows);
  }
}

const BenchRegistration kRegistration("product", &BenchProducts);

}  // namespace
}  // namespace skein::cuda
