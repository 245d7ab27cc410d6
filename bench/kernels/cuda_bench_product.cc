// Dense bfloat16 products over the shapes of a decoder of 38 billion parameters at world sizes 1
// and 4: our own kernel, cuBLASLt by heuristic, by time and by the fixed tile of deterministic
// mode. Then the four products of a layer in a row, with small kernels between them as in a step.
#include <algorithm>
#include <string>
#include <vector>

#include "cuda/blas_lt.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda_bench.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

struct Shape {
  const char* name;
  int64_t outputs, k;
  DType out_type;
  bool swiglu;
  // Also for a prompt's rows.
  bool many_rows;
};

constexpr Shape kShapes[] = {
    {"qkv", 7168, 5120, DType::kBFloat16, false, false},
    {"o", 5120, 5120, DType::kFloat32, false, false},
    {"gate_up swiglu", 55296, 5120, DType::kBFloat16, true, true},
    {"down", 5120, 27648, DType::kFloat32, false, true},
    {"head", 151680, 5120, DType::kFloat32, false, false},
    {"qkv / 4", 1792, 5120, DType::kBFloat16, false, false},
    {"o / 4", 5120, 1280, DType::kFloat32, false, false},
    {"gate_up swiglu / 4", 13824, 5120, DType::kBFloat16, true, false},
    {"down / 4", 5120, 6912, DType::kFloat32, false, false},
    {"head / 4", 37920, 5120, DType::kFloat32, false, false},
};

constexpr int64_t kMaxOutputs = 151680, kMaxK = kWidth, kManyRows = 1024;
// What a graph of a measurement takes, about.
constexpr double kGraphMicroseconds = 2500;

class ProductBench {
 public:
  explicit ProductBench(Report& report)
      : report_(report),
        weights_(static_cast<size_t>(2 * kMaxOutputs * 5120) * 2),
        x_(static_cast<size_t>(kManyRows * kMaxK) * 2),
        out_(static_cast<size_t>(kManyRows * 2 * kWidth) * 4),
        expected_(out_.bytes()),
        scratch_(out_.bytes()),
        heuristic_(report.stream(), BlasChoice::kHeuristic),
        timed_(report.stream(), BlasChoice::kTimed),
        fixed_(report.stream(), BlasChoice::kFixed) {
    fixed_.Reserve(kMaxK, kMaxOutputs);
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
                 expected = MakeMatrix(expected_.data(), shape.out_type, rows, cols);
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
                                   report_.stream().ForDriver()));
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
        if (shape.swiglu) {
          BlasSwiGlu(lt, x, weight(i), result);
        } else {
          lt.Product(x, weight(i), nullptr, result);
        }
      };
    };
    measure("cuBLASLt heuristic", expected, true, blas(heuristic_));
    measure("cuBLASLt timed", out, false, blas(timed_));
    measure("cuBLASLt fixed tile", out, false, blas(fixed_));
    if (rows > kSkinnyMaxRows || !HasSkinnyProduct()) return;
    measure("own", out, false, [&](int i, const Matrix& result) {
      if (shape.swiglu) {
        SkinnySwiGlu(x, weight(i), result, report_.stream());
      } else {
        SkinnyProduct(x, weight(i), nullptr, result, report_.stream());
      }
    });
  }

  // The layer's products in their order, each with a small kernel before the next that needs it, as
  // attention, norms and the residual are in a step: what they take beyond the sum of the four
  // alone is what is lost between kernels, and by blocks that find no free multiprocessor.
  void RunLayer(int64_t rows) {
    size_t starts[5] = {};
    for (size_t i = 0; i < 4; ++i) {
      starts[i + 1] = starts[i] + static_cast<size_t>(kLayer[i].outputs * kLayer[i].inputs) * 2;
    }
    const auto layers = static_cast<int>(weights_.bytes() / starts[4]);
    const auto weight = [&](int layer, int i) {
      return MakeMatrix(
          weights_.As<char>() + static_cast<size_t>(layer % layers) * starts[4] + starts[i],
          DType::kBFloat16, kLayer[i].outputs, kLayer[i].inputs);
    };
    const LayerMatrices layer_matrices(out_, rows, report_.stream());
    const auto& [x, qkv, partial, residual, gated] = layer_matrices;
    FillRandomBFloat16(x_.data(), static_cast<int64_t>(x_.bytes() / 2), 1.0f, 2, report_.stream());
    SKEIN_CUDA(cudaMemcpyAsync(x.data, x_.data(), static_cast<size_t>(rows) * x.RowBytes(),
                               cudaMemcpyDeviceToDevice, report_.stream().ForDriver()));
    const DeviceMemory ones(kHidden * sizeof(float));
    const std::vector<float> values(kHidden, 1.0f);
    SKEIN_CUDA(cudaMemcpy(ones.data(), values.data(), ones.bytes(), cudaMemcpyHostToDevice));
    const NormArguments norm{false, ones.As<float>(), nullptr, 1e-6f};
    const auto add_residual = [&] {
      AddResidualNorm(partial.As<float>(), partial.stride, nullptr, nullptr, residual.As<float>(),
                      residual.stride, &norm, rows, kHidden, x.As<__nv_bfloat16>(), x.stride,
                      report_.stream());
    };
    const auto measure = [&](const char* variant, const auto& product, const auto& swiglu) {
      Measurement m{"layer", "four products", variant, rows, 0, static_cast<double>(starts[4])};
      SKEIN_CUDA(cudaMemsetAsync(residual.data, 0, static_cast<size_t>(rows) * residual.RowBytes(),
                                 report_.stream().ForDriver()));
      const auto run = [&](int layer) {
        product(x, weight(layer, 0), qkv);
        BiasGelu(qkv.As<__nv_bfloat16>(), qkv.stride, nullptr, rows, kHidden, true,
                 report_.stream());
        product(qkv.Cols(0, kHidden), weight(layer, 1), partial);
        add_residual();
        swiglu(x, weight(layer, 2), gated);
        product(gated, weight(layer, 3), partial);
        add_residual();
      };
      m.microseconds = report_.Microseconds(run, 8);
      report_.Print(m);
    };
    const auto blas = [&](const char* variant, BlasLt& lt) {
      measure(
          variant,
          [&](const Matrix& a, const Matrix& w, const Matrix& c) { lt.Product(a, w, nullptr, c); },
          [&](const Matrix& a, const Matrix& w, const Matrix& c) { BlasSwiGlu(lt, a, w, c); });
    };
    blas("cuBLASLt heuristic", heuristic_);
    blas("cuBLASLt timed", timed_);
    blas("cuBLASLt fixed tile", fixed_);
    if (rows > kSkinnyMaxRows || !HasSkinnyProduct()) return;
    measure(
        "own",
        [&](const Matrix& a, const Matrix& w, const Matrix& c) {
          SkinnyProduct(a, w, nullptr, c, report_.stream());
        },
        [&](const Matrix& a, const Matrix& w, const Matrix& c) {
          SkinnySwiGlu(a, w, c, report_.stream());
        });
  }

 private:
  // As the back end does it: in bfloat16 of many rows, in float32 of few, and where bits are fixed.
  void BlasSwiGlu(BlasLt& lt, const Matrix& x, const Matrix& weight, const Matrix& out) {
    const bool is_float = x.rows <= kSkinnyMaxRows || &lt == &fixed_;
    const Matrix gate_up = MakeMatrix(
        scratch_.data(), is_float ? DType::kFloat32 : DType::kBFloat16, x.rows, weight.rows);
    lt.Product(x, weight, nullptr, gate_up);
    const auto swiglu = [&](const auto* values) {
      SwiGlu(values, gate_up.stride, x.rows, out.cols, out.As<__nv_bfloat16>(), out.stride,
             report_.stream());
    };
    if (is_float) {
      swiglu(gate_up.As<const float>());
    } else {
      swiglu(gate_up.As<const __nv_bfloat16>());
    }
  }

  Report& report_;
  const DeviceMemory weights_, x_, out_, expected_, scratch_;
  BlasLt heuristic_, timed_, fixed_;
};

void BenchProducts(Report& report) {
  ProductBench bench(report);
  for (const Shape& shape : kShapes) {
    for (const int64_t rows : {1, 2, 4, 8, 9, 16, 32, 64}) bench.Run(shape, rows);
    if (shape.many_rows) bench.Run(shape, kManyRows);
  }
  for (const int64_t rows : {1, 2, 4, 8, 16, 64}) bench.RunLayer(rows);
}

const BenchRegistration kRegistration("product", &BenchProducts);

}  // namespace
}  // namespace skein::cuda
