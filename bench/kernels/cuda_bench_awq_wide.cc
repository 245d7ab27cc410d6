// The wide AWQ products of the 38 B model (Hopper): tiles, numbers of clusters, a layer's products
// in a row. Each is checked against a plain loop first.
#include "cuda/kernels/awq_wide.h"
#include "cuda_bench.h"
#include "cuda_bench_awq.h"

namespace skein::cuda {
namespace {

constexpr int64_t kRows[] = {17, 24, 32, 48, 64, 96, 128, 256, 512, 1024};
// Prompts beside those that are being answered: hardly ever a whole number of tiles.
constexpr int64_t kOddRows[] = {144, 208, 272, 336, 400, 528, 656, 784, 1040, 1345, 2064, 4100};

class WideBench {
 public:
  explicit WideBench(Report& report)
      : report_(report),
        stream_(report.stream()),
        device_(CurrentDeviceTraits()),
        operands_(report),
        partial_(WideMostPartialBytes(device_)) {}

  bool HasKernel() const { return device_.has_warpgroups; }

  // All products of a weight: as the plan chooses them, with as many clusters as there is room for,
  // and with the tiles next to the chosen one.
  void Products(const AwqBenchWeight& weight, bool swiglu) {
    const AwqWeights& first = weight.copies[0];
    operands_.MakeReference(first, swiglu);
    for (const int64_t rows : kRows) {
      const WidePlan chosen = PlanAwqWide(first, rows, device_);
      Product(weight, rows, swiglu, chosen, ", chosen");
      const WidePlan all =
          PlanAwqWide(first, rows, device_, -1, device_.multiprocessors / kWideCluster);
      if (all.clusters != chosen.clusters) Product(weight, rows, swiglu, all, "");
      for (const int tile : {chosen.tile - 1, chosen.tile + 1}) {
        if (tile < 0 || tile >= kNumFreeWideTiles) continue;
        Product(weight, rows, swiglu, PlanAwqWide(first, rows, device_, tile), "");
      }
      if (chosen.cut == 0 || chosen.clusters / chosen.cut > 1) continue;
      Product(weight, rows, swiglu,
              PlanWide(first.out_features, first.in_features, rows, device_, chosen.tile, 0,
                       WideRest::kWhole),
              "");
    }
  }

  // Every tile, whatever the plan would choose.
  void Tiles(const AwqBenchWeight& weight, bool swiglu) {
    const AwqWeights& first = weight.copies[0];
    operands_.MakeReference(first, swiglu);
    for (const int64_t rows : kOddRows) {
      const int chosen = PlanAwqWide(first, rows, device_).tile;
      for (int tile = 0; tile < kNumFreeWideTiles; ++tile) {
        Product(weight, rows, swiglu, PlanAwqWide(first, rows, device_, tile),
                tile == chosen ? ", chosen" : "");
      }
    }
  }

  void Layer(const AwqBenchWeights& weights, const std::string& shape) {
    for (const int64_t rows : kRows) {
      operands_.Layer("awq wide layer", shape, weights, rows, [&](const AwqWeights& one, size_t i) {
        ProductOperands operands = Operands(one, rows, i == kAwqGateUp);
        // Query, key and value are bfloat16; o and down are partial sums.
        operands.out_is_float = i % 2 == 1;
        AwqWideProduct(one, operands, PlanAwqWide(one, rows, device_), stream_);
      });
    }
  }

 private:
  ProductOperands Operands(const AwqWeights& weights, int64_t rows, bool swiglu) const {
    return operands_.For(weights, rows, swiglu, partial_.As<float>());
  }

  void Product(const AwqBenchWeight& weight, int64_t rows, bool swiglu, const WidePlan& plan,
               const char* note) {
    Measurement measurement;
    measurement.what = swiglu ? "awq wide gate_up + swiglu" : "awq wide product";
    measurement.shape = weight.name;
    measurement.variant = Format("tile %d x %d, %d clusters, %d waves, %d cut in %d%s",
                                 kWideTiles[plan.tile].rows, kWideTiles[plan.tile].columns(),
                                 plan.clusters, plan.waves, plan.cut, plan.shares, note);
    measurement.rows = rows;
    measurement.bytes = weight.bytes;
    const auto launch = [&](int copy) {
      const AwqWeights& weights = weight.Copy(copy);
      AwqWideProduct(weights, Operands(weights, rows, swiglu), plan, stream_);
    };
    operands_.PoisonOut();
    launch(0);
    measurement.error = operands_.Error(weight.copies[0], rows, swiglu);
    measurement.microseconds = report_.Microseconds(launch, AwqRepeats(weight));
    report_.Print(measurement);
  }

  Report& report_;
  Stream& stream_;
  const DeviceTraits device_;
  AwqBenchOperands operands_;
  const DeviceMemory partial_;
};

void BenchAwqWide(Report& report) {
  WideBench bench(report);
  if (!bench.HasKernel()) {
    report.PrintSkipped({"awq wide product", "all", "all"}, "no warpgroup products");
    return;
  }
  for (const int64_t world_size : {1, 4}) {
    const AwqBenchWeights weights = MakeAwqLayer(world_size);
    bench.Layer(weights, Format("world size %lld", static_cast<long long>(world_size)));
    for (size_t i = 0; i < weights.size(); ++i) {
      bench.Products(*weights[i], i == kAwqGateUp);
      if (world_size == 1) bench.Tiles(*weights[i], i == kAwqGateUp);
    }
  }
}

const BenchRegistration kRegistration("awq_wide", &BenchAwqWide);

}  // namespace
}  // namespace skein::cuda
