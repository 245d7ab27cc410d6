// What deterministic mode costs in the products of the 38 B model's layers, bfloat16 and float8
// (Hopper): a layer's four products in a row with the norms between them, by the kernels that each
// mode takes, and each product by the fixed plan.
#include <algorithm>
#include <string>
#include <vector>

#include "cuda/blas_lt.h"
#include "cuda/kernels/dense_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/float8.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda/product_rules.h"
#include "cuda_bench.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

constexpr int64_t kMostRows = 2048;
constexpr int kCopies = 4;

// kTiles: deterministic, too, through cuBLASLt, 128 rows at a time, as where there are no warpgroup
// products.
enum class Mode { kFast, kDeterministic, kTiles };
constexpr const char* kModeNames[] = {"fast", "deterministic", "cuBLASLt, tiles of 128 rows"};

class ModesBench {
 public:
  ModesBench(Report& report, bool is_float8)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        is_float8_(is_float8),
        weights_(kCopies * LayerBytes()),
        scales_(2 * kWidth * sizeof(float)),
        codes_(static_cast<size_t>(kMostRows * kWidth)),
        x_scales_(static_cast<size_t>(kMostRows + 512) * sizeof(float)),
        out_(static_cast<size_t>(kMostRows * 3 * kWidth) * 2),
        gate_up_(static_cast<size_t>(kMostRows * 2 * kWidth) * 2),
        partial_(WideMostPartialBytes(device_)),
        blas_(stream_, BlasChoice::kTimed),
        tiles_(stream_, BlasChoice::kFixed) {
    for (const ProductShape& shape : kLayer) tiles_.Reserve(shape.inputs, shape.outputs);
    FillRandomBFloat16(gate_up_.data(), static_cast<int64_t>(gate_up_.bytes() / 2), 1.0f, 2,
                       stream_);
    if (is_float8_) {
      FillCodes();
    } else {
      FillRandomBFloat16(weights_.data(), static_cast<int64_t>(weights_.bytes() / 2), 0.02f, 1,
                         stream_);
    }
    const std::vector<float> ones(2 * kWidth, 1.0f);
    SKEIN_CUDA(cudaMemcpy(scales_.data(), ones.data(), scales_.bytes(), cudaMemcpyHostToDevice));
  }

  void Layer(int64_t rows, Mode mode) {
    size_t starts[5] = {};
    for (size_t i = 0; i < 4; ++i) starts[i + 1] = starts[i] + Bytes(kLayer[i]);
    const LayerMatrices layer_matrices(out_, rows, stream_);
    const auto& [x, qkv, partial, residual, gated] = layer_matrices;
    NormArguments norm{false, scales_.As<float>(), nullptr, 1e-6f, {}};
    if (is_float8_) norm.quantized = {codes_.As<uint8_t>(), x_scales_.As<float>()};
    const bool adds = rows >= kFewestAddedRows && mode != Mode::kTiles;
    const auto normalise = [&] {
      Norm(residual.As<float>(), residual.stride, norm, rows, kHidden, x.As<__nv_bfloat16>(),
           x.stride, stream_);
    };
    const auto end = [&](const ProductShape& shape, const Matrix& from, const Matrix& w) {
      if (is_float8_) {
        QuantizeRows(from.As<__nv_bfloat16>(), from.stride, rows, from.cols, 0,
                     codes_.As<uint8_t>(), x_scales_.As<float>(), stream_);
      }
      Product(shape, from, w, adds ? residual : partial, adds, mode);
      if (adds) return normalise();
      AddResidualNorm(partial.As<float>(), partial.stride, nullptr, nullptr, residual.As<float>(),
                      residual.stride, &norm, rows, kHidden, x.As<__nv_bfloat16>(), x.stride,
                      stream_);
    };
    Measurement m{"layer",
                  Format("%s, four products, two norms", Name()),
                  kModeNames[static_cast<int>(mode)],
                  rows,
                  0,
                  static_cast<double>(starts[4])};
    const auto run = [&](int layer) {
      const auto weight = [&](size_t i) {
        return Weight(kLayer[i], static_cast<size_t>(layer % kCopies) * LayerBytes() + starts[i]);
      };
      Product(kLayer[0], x, weight(0), qkv, false, mode);
      end(kLayer[1], qkv.Cols(0, kHidden), weight(1));
      Product(kLayer[2], x, weight(2), gated, false, mode);
      end(kLayer[3], gated, weight(3));
    };
    normalise();
    run(0);  // cuBLASLt's algorithms are chosen, which a recording cannot
    m.microseconds = report_.Microseconds(run, 4);
    report_.Print(m);
  }

  // By the fixed plan.
  void Alone(const ProductShape& shape, int64_t rows) {
    const size_t bytes = Bytes(shape);
    const int copies = static_cast<int>(weights_.bytes() / bytes);
    const Matrix x = MakeMatrix(gate_up_.data(), DType::kBFloat16, rows, shape.inputs);
    const auto launch = [&](int i) {
      Product(shape, x, Weight(shape, static_cast<size_t>(i % copies) * bytes),
              shape.Out(out_, rows), false, Mode::kDeterministic);
    };
    const WidePlan plan = PlanDenseWideFixed(Weight(shape, 0), rows, device_);
    Measurement m{shape.name,
                  Format("%s %lld x %lld", Name(), static_cast<long long>(shape.outputs),
                         static_cast<long long>(shape.inputs)),
                  Format("fixed: tile %d x %d, %d clusters, %d waves, %d cut in %d, %d chunks",
                         kWideTiles[plan.tile].rows, kWideTiles[plan.tile].columns(), plan.clusters,
                         plan.waves, plan.cut, plan.shares, plan.chunks),
                  rows,
                  0,
                  static_cast<double>(bytes)};
    const double once = report_.BestMicroseconds([&] { launch(0); }, 1);
    m.microseconds = report_.Microseconds(launch, std::clamp(static_cast<int>(3000 / once), 4, 40));
    report_.Print(m);
  }

 private:
  void FillCodes() {
    const int64_t rows = static_cast<int64_t>(gate_up_.bytes()) / 2 / kHidden;
    const auto all = static_cast<int64_t>(weights_.bytes()) / kHidden;
    const DeviceMemory scales(static_cast<size_t>(rows) * sizeof(float));
    for (int64_t first = 0; first < all; first += rows) {
      QuantizeRows(gate_up_.As<__nv_bfloat16>(), kHidden, std::min(rows, all - first), kHidden, 0,
                   weights_.As<uint8_t>() + first * kHidden, scales.As<float>(), stream_);
    }
    stream_.Synchronize();
  }

  const char* Name() const { return is_float8_ ? "float8" : "bfloat16"; }
  size_t Bytes(const ProductShape& shape) const {
    return static_cast<size_t>(shape.outputs * shape.inputs) * (is_float8_ ? 1 : 2);
  }
  size_t LayerBytes() const {
    size_t bytes = 0;
    for (const ProductShape& shape : kLayer) bytes += Bytes(shape);
    return bytes;
  }
  // Of float8, pairs of codes.
  Matrix Weight(const ProductShape& shape, size_t start) const {
    return MakeMatrix(weights_.As<char>() + start, DType::kBFloat16, shape.outputs,
                      shape.inputs / (is_float8_ ? 2 : 1));
  }

  // As the linears choose; the shapes are none that a kernel does not take.
  void Product(const ProductShape& shape, const Matrix& x, const Matrix& w, const Matrix& out,
               bool adds, Mode mode) {
    const bool is_deterministic = mode != Mode::kFast;
    const bool swiglu = shape.kind == ProductKind::kSwiGlu;
    const Matrix from =
        is_float8_ ? MakeMatrix(codes_.data(), DType::kBFloat16, x.rows, w.cols) : x;
    const auto format = is_float8_ ? WeightFormat::kFloat8 : WeightFormat::kDense;
    const ProductKernel kernel =
        mode == Mode::kTiles
            ? ProductKernel::kLibrary
            : ChooseProduct({format, is_deterministic, false, x.rows, shape.outputs},
                            [](ProductKernel) { return true; });
    BlasLt& blas = mode == Mode::kTiles ? tiles_ : blas_;
    switch (kernel) {
      case ProductKernel::kWide: {
        ProductOperands operands = WideOperands(shape, from, out, partial_);
        operands.adds = adds;
        if (is_float8_) operands.x_scales = x_scales_.As<float>();
        operands.weight_scales = scales_.As<float>();
        DenseWideProduct(w, operands,
                         is_deterministic || x.rows <= kMostFixedPlanRows
                             ? PlanDenseWideFixed(w, x.rows, device_)
                             : PlanDenseWide(w, x.rows, device_),
                         stream_);
        return;
      }
      case ProductKernel::kFewRows:
        if (is_float8_) {
          swiglu ? SkinnyFloat8SwiGlu(from, x_scales_.As<float>(), w, scales_.As<float>(), out,
                                      stream_)
                 : SkinnyFloat8(from, x_scales_.As<float>(), w, scales_.As<float>(), nullptr, out,
                                stream_);
        } else {
          swiglu ? SkinnySwiGlu(x, w, out, stream_) : SkinnyProduct(x, w, nullptr, out, stream_);
        }
        return;
      default:
        if (adds) return blas.AddProduct(x, w, out);
        if (!swiglu) return blas.Product(x, w, nullptr, out);
        const Matrix gate_up = MakeMatrix(gate_up_.data(), DType::kBFloat16, x.rows, w.rows);
        blas.Product(x, w, nullptr, gate_up);
        SwiGlu(gate_up.As<const __nv_bfloat16>(), gate_up.stride, x.rows, out.cols,
               out.As<__nv_bfloat16>(), out.stride, stream_);
    }
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  const bool is_float8_;
  const DeviceMemory weights_, scales_, codes_, x_scales_, out_, gate_up_, partial_;
  BlasLt blas_, tiles_;
};

void BenchDeterministic(Report& report) {
  if (!CurrentDeviceTraits().has_warpgroups) {
    report.PrintSkipped({"deterministic product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const bool is_float8 : {false, true}) {
    ModesBench bench(report, is_float8);
    for (const int64_t rows : {1, 8, 16, 64, 128, 256, 512, 1024, 2048}) {
      for (const ProductShape& shape : kLayer) bench.Alone(shape, rows);
      for (const Mode mode : {Mode::kFast, Mode::kDeterministic}) bench.Layer(rows, mode);
      if (!is_float8) bench.Layer(rows, Mode::kTiles);
    }
  }
}

const BenchRegistration kRegistration("deterministic", &BenchDeterministic);

}  // namespace
}  // namespace skein::cuda
