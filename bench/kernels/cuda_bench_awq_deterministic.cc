// What deterministic mode costs in the AWQ products of the 38 B model's layers (Hopper): a layer's
// four products in a row with the norms between them, by the kernels that each mode takes; each
// product by itself; and the exact wide one by each of its tiles.
#include <algorithm>
#include <string>
#include <vector>

#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/product_rules.h"
#include "cuda_bench.h"
#include "cuda_bench_awq.h"
#include "cuda_bench_layer.h"

namespace skein::cuda {
namespace {

constexpr int64_t kMostRows = 2048;
constexpr const char* kModeNames[] = {"fast", "deterministic"};

class AwqModesBench {
 public:
  explicit AwqModesBench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        operands_(report),
        layer_(MakeAwqLayer(1)),
        scales_(2 * kWidth * sizeof(float)),
        out_(static_cast<size_t>(kMostRows * 3 * kWidth) * 2),
        partial_(WideMostPartialBytes(device_)) {
    const std::vector<float> ones(2 * kWidth, 1.0f);
    SKEIN_CUDA(cudaMemcpy(scales_.data(), ones.data(), scales_.bytes(), cudaMemcpyHostToDevice));
  }

  void Layer(int64_t rows, bool is_deterministic) {
    const LayerMatrices layer_matrices(out_, rows, stream_);
    const auto& [x, qkv, partial, residual, gated] = layer_matrices;
    const NormArguments norm{false, scales_.As<float>(), nullptr, 1e-6f, {}};
    const bool adds = rows >= kFewestAddedRows;
    const auto normalise = [&] {
      Norm(residual.As<float>(), residual.stride, norm, rows, kHidden, x.As<__nv_bfloat16>(),
           x.stride, stream_);
    };
    const auto end = [&](size_t i, const Matrix& from, int copy) {
      Product(i, from, adds ? residual : partial, copy, adds, is_deterministic);
      if (adds) return normalise();
      AddResidualNorm(partial.As<float>(), partial.stride, nullptr, nullptr, residual.As<float>(),
                      residual.stride, &norm, rows, kHidden, x.As<__nv_bfloat16>(), x.stride,
                      stream_);
    };
    Measurement m{"layer", "AWQ, four products, two norms", kModeNames[is_deterministic], rows};
    for (const auto& weight : layer_) m.bytes += weight->bytes;
    const auto run = [&](int copy) {
      Product(0, x, qkv, copy, false, is_deterministic);
      end(1, qkv.Cols(0, kHidden), copy);
      Product(2, x, gated, copy, false, is_deterministic);
      end(3, gated, copy);
    };
    normalise();
    m.microseconds = report_.Microseconds(run, 8);
    report_.Print(m);
  }

  // In deterministic mode; what it leaves beside the plain loop's results.
  void Alone(size_t i, int64_t rows) {
    const AwqBenchWeight& weight = *layer_[i];
    const AwqWeights& first = weight.copies[0];
    const bool swiglu = i == kAwqGateUp;
    const auto launch = [&](int copy) {
      Launch(weight.Copy(copy), operands_.For(first, rows, swiglu, partial_.As<float>()), true);
    };
    operands_.MakeReference(first, swiglu);
    operands_.PoisonOut();
    launch(0);
    Measurement m{kLayer[i].name, weight.name, "", rows, 0, weight.bytes};
    m.error = operands_.Error(first, rows, swiglu);
    if (Choose(first, rows, true) == ProductKernel::kExactWide) {
      const WidePlan plan = PlanAwqExactWide(first, rows, device_);
      m.variant = Format("exact: tile %d x %d, %d clusters, %d waves, %d cut in %d, %d chunks",
                         kWideTiles[plan.tile].rows, kWideTiles[plan.tile].columns(), plan.clusters,
                         plan.waves, plan.cut, plan.shares, plan.chunks);
    } else {
      const AwqPlan plan = PlanAwqDeterministic(first, rows, swiglu, device_);
      m.variant = Format("few rows: tuning %d, %d blocks, %d slices, %d chunks, %d parts",
                         plan.tuning, plan.blocks, plan.slices, plan.chunks, plan.parts);
    }
    const double once = report_.BestMicroseconds([&] { launch(0); }, 1);
    m.microseconds = report_.Microseconds(launch, std::clamp(static_cast<int>(3000 / once), 4, 40));
    report_.Print(m);
  }

  // The exact wide product by each tile.
  void Tiles(size_t i, int64_t rows) {
    const AwqBenchWeight& weight = *layer_[i];
    for (int tile = 0; tile < kNumWideTiles; ++tile) {
      if (!WideTileIsExact(tile)) continue;
      const WidePlan plan = PlanAwqExactWide(weight.copies[0], rows, device_, tile);
      const auto launch = [&](int copy) {
        AwqExactWideProduct(
            weight.Copy(copy),
            operands_.For(weight.copies[0], rows, i == kAwqGateUp, partial_.As<float>()), plan,
            stream_);
      };
      Measurement m{kLayer[i].name,
                    weight.name,
                    Format("exact tile %d x %d, %d cut in %d", kWideTiles[tile].rows,
                           kWideTiles[tile].columns(), plan.cut, plan.shares),
                    rows,
                    0,
                    weight.bytes};
      launch(0);
      const double once = report_.BestMicroseconds([&] { launch(0); }, 1);
      m.microseconds =
          report_.Microseconds(launch, std::clamp(static_cast<int>(2000 / once), 4, 40));
      report_.Print(m);
    }
  }

 private:
  static ProductKernel Choose(const AwqWeights& weights, int64_t rows, bool is_deterministic) {
    return ChooseProduct({WeightFormat::kAwq, is_deterministic, false, rows, weights.out_features},
                         [](ProductKernel) { return true; });
  }
  // As the linears choose; the shapes are none that a kernel does not take.
  void Launch(const AwqWeights& weights, const ProductOperands& operands, bool is_deterministic) {
    const int64_t rows = operands.rows;
    const ProductKernel kernel = Choose(weights, rows, is_deterministic);
    if (kernel == ProductKernel::kExactWide) {
      AwqExactWideProduct(weights, operands, PlanAwqExactWide(weights, rows, device_), stream_);
    } else if (kernel == ProductKernel::kWide) {
      AwqWideProduct(weights, operands, PlanAwqWide(weights, rows, device_), stream_);
    } else {
      AwqProduct(weights, operands,
                 is_deterministic ? PlanAwqDeterministic(weights, rows, operands.swiglu, device_)
                                  : PlanAwq(weights, rows, operands.swiglu, device_),
                 stream_);
    }
  }
  void Product(size_t i, const Matrix& x, const Matrix& out, int copy, bool adds,
               bool is_deterministic) {
    ProductOperands operands = WideOperands(kLayer[i], x, out, partial_);
    operands.adds = adds;
    Launch(layer_[i]->Copy(copy), operands, is_deterministic);
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  AwqBenchOperands operands_;
  const AwqBenchWeights layer_;
  const DeviceMemory scales_, out_, partial_;
};

void BenchAwqDeterministic(Report& report) {
  if (!CurrentDeviceTraits().has_warpgroups) return;
  AwqModesBench bench(report);
  for (const int64_t rows : {1, 8, 16, 64, 128, 256, 512, 1024, 2048}) {
    for (size_t i = 0; i < 4; ++i) bench.Alone(i, rows);
    for (const bool is_deterministic : {false, true}) bench.Layer(rows, is_deterministic);
  }
  for (const int64_t rows : {17, 64, 96, 128, 256}) {
    for (size_t i = 0; i < 4; ++i) bench.Tiles(i, rows);
  }
}

const BenchRegistration kRegistration("awq_deterministic", &BenchAwqDeterministic);

}  // namespace
}  // namespace skein::cuda
