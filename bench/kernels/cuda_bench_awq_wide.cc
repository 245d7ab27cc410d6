// The wide AWQ products of the 38 B model (Hopper): tiles, numbers of clusters, a layer's products
// in a row. Each is checked against a plain loop first.
#include <algorithm>
#include <memory>
#include <vector>

#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/elementwise.h"
#include "cuda_bench.h"
#include "cuda_bench_awq.h"

namespace skein::cuda {
namespace {

constexpr int64_t kCheckedRows = 64;
constexpr int64_t kMostRows = 1024;
constexpr int64_t kRows[] = {17, 24, 32, 48, 64, 96, 128, 256, 512, 1024};

class WideBench {
 public:
  explicit WideBench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentAwqDevice()),
        x_(kMostRows * 27648 * 2),
        out_(kMostRows * 55296 * 4),
        reference_(kCheckedRows * 55296 * 4),
        activated_(kCheckedRows * 27648 * 2),
        partial_(AwqWideMostPartialBytes(device_)) {
    FillRandomBFloat16(x_.data(), kMostRows * 27648, 1.0f, 3, stream_);
  }

  bool HasKernel() const { return device_.has_warpgroups; }

  // All products of a weight: as the plan chooses them, with as many clusters as there is room for,
  // and with the tiles next to the chosen one.
  void Products(const BenchWeight& weight, bool swiglu) {
    const AwqWeights& first = weight.copies[0];
    AwqReference(first, x_.As<__nv_bfloat16>(), first.in_features, kCheckedRows,
                 reference_.As<float>(), stream_);
    if (swiglu) {
      SwiGlu(reference_.As<float>(), first.out_features, kCheckedRows, first.out_features / 2,
             activated_.As<__nv_bfloat16>(), first.out_features / 2, stream_);
    }
    for (const int64_t rows : kRows) {
      const AwqWidePlan chosen = PlanAwqWide(first, rows, device_);
      Product(weight, rows, swiglu, chosen, ", chosen");
      const AwqWidePlan all =
          PlanAwqWide(first, rows, device_, -1, device_.multiprocessors / kAwqWideCluster);
      if (all.clusters != chosen.clusters) Product(weight, rows, swiglu, all, "");
      for (const int tile : {chosen.tile - 1, chosen.tile + 1}) {
        if (tile < 0 || tile >= kAwqNumWideTiles) continue;
        Product(weight, rows, swiglu, PlanAwqWide(first, rows, device_, tile), "");
      }
    }
  }

  void Layer(const std::vector<std::unique_ptr<BenchWeight>>& weights, const std::string& name) {
    for (const int64_t rows : kRows) {
      Measurement measurement;
      measurement.what = "awq wide layer";
      measurement.shape = name;
      measurement.variant = "chosen";
      measurement.rows = rows;
      for (const auto& weight : weights) measurement.bytes += weight->bytes;
      measurement.microseconds = report_.Microseconds(
          [&](int copy) {
            for (size_t i = 0; i < weights.size(); ++i) {
              const auto& copies = weights[i]->copies;
              const AwqWeights& one = copies[static_cast<size_t>(copy) % copies.size()];
              AwqOperands operands = Operands(one, rows, i == 2);
              // Query, key and value are bfloat16; o and down are partial sums.
              operands.out_is_float = i % 2 == 1;
              AwqWideProduct(one, operands, PlanAwqWide(one, rows, device_), stream_);
            }
          },
          8);
      report_.Print(measurement);
    }
  }

 private:
  AwqOperands Operands(const AwqWeights& weights, int64_t rows, bool swiglu) const {
    AwqOperands operands{};
    operands.x = x_.As<__nv_bfloat16>();
    operands.x_stride = weights.in_features;
    operands.rows = rows;
    operands.out = out_.data();
    operands.out_is_float = !swiglu;
    operands.out_stride = swiglu ? weights.out_features / 2 : weights.out_features;
    operands.swiglu = swiglu;
    operands.partial = partial_.As<float>();
    return operands;
  }

  void Product(const BenchWeight& weight, int64_t rows, bool swiglu, const AwqWidePlan& plan,
               const char* note) {
    const AwqWeights& first = weight.copies[0];
    Measurement measurement;
    measurement.what = swiglu ? "awq wide gate_up + swiglu" : "awq wide product";
    measurement.shape = weight.name;
    measurement.variant =
        Format("tile %d x %d, %d clusters, %d waves, %d cut%s", kAwqWideTiles[plan.tile].rows,
               kAwqWideTiles[plan.tile].columns(), plan.clusters, plan.waves, plan.cut, note);
    measurement.rows = rows;
    measurement.bytes = weight.bytes;
    const auto launch = [&](int copy) {
      const AwqWeights& weights = weight.copies[static_cast<size_t>(copy) % weight.copies.size()];
      AwqWideProduct(weights, Operands(weights, rows, swiglu), plan, stream_);
    };
    const int64_t checked = std::min(rows, kCheckedRows);
    SKEIN_CUDA(cudaMemsetAsync(out_.data(), 0xff, out_.bytes(), stream_));
    launch(0);
    measurement.error = swiglu
                            ? RelativeDifference(out_.data(), activated_.data(),
                                                 checked * first.out_features / 2, false, stream_)
                            : RelativeDifference(out_.data(), reference_.data(),
                                                 checked * first.out_features, true, stream_);
    measurement.microseconds = report_.Microseconds(launch, weight.bytes < 40e6 ? 32 : 8);
    report_.Print(measurement);
  }

  Report& report_;
  const cudaStream_t stream_;
  const AwqDevice device_;
  const DeviceMemory x_, out_, reference_, activated_, partial_;
};

void BenchAwqWide(Report& report) {
  WideBench bench(report);
  if (!bench.HasKernel()) {
    report.PrintSkipped({"awq wide product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const int64_t world_size : {1, 4}) {
    const int64_t shapes[][2] = {{5120, 7168 / world_size},
                                 {5120 / world_size, 5120},
                                 {5120, 55296 / world_size},
                                 {27648 / world_size, 5120}};
    const char* names[] = {"qkv", "o", "gate_up", "down"};
    const std::string world = Format("world size %lld", static_cast<long long>(world_size));
    std::vector<std::unique_ptr<BenchWeight>> weights;
    for (int i = 0; i < 4; ++i) {
      const auto [in, out] = shapes[i];
      weights.push_back(
          std::make_unique<BenchWeight>(names[i] + (", " + world), in, out,
                                        Report::RotatingCopies(static_cast<size_t>(in * out / 2))));
    }
    bench.Layer(weights, world);
    for (int i = 0; i < 4; ++i) bench.Products(*weights[static_cast<size_t>(i)], i == 2);
  }
}

const BenchRegistration kRegistration("awq_wide", &BenchAwqWide);

}  // namespace
}  // namespace skein::cuda
