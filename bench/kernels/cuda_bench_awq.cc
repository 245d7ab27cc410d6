// AWQ products of the 38 B model: every tuning of the packed product, gate and up with SwiGLU in
// one kernel, a layer's products in a row, and the way through dequantised columns with several
// widths. Each is checked against a plain loop first.
#include "cuda_bench_awq.h"

#include <algorithm>
#include <vector>

#include "cuda/awq_workspace.h"
#include "cuda/kernels/awq.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

constexpr int64_t kCheckedRows = AwqBenchOperands::kCheckedRows;

class Bench {
 public:
  explicit Bench(Report& report)
      : report_(report),
        stream_(report.stream()),
        products_(false),
        workspace_(stream_, products_),
        blas_(stream_, BlasChoice::kTimed),
        operands_(report) {
    workspace_.Reserve(27648, 5120);
    workspace_.Reserve(5120, 55296);
  }

  AwqBenchOperands& operands() { return operands_; }

  void Packed(const AwqBenchWeight& weight, int64_t rows, bool swiglu) {
    const AwqWeights& first = weight.copies[0];
    for (int tuning = 0; tuning < kAwqNumTunings; ++tuning) {
      if (!AwqTakes(first, tuning, std::min(rows, kCheckedRows), swiglu)) continue;
      const AwqTuning& tuned = kAwqTunings[tuning];
      const AwqPlan plan =
          PlanAwq(first, std::min(rows, kCheckedRows), swiglu, products_.device(), tuning);
      const bool chosen =
          PlanAwq(first, std::min(rows, kCheckedRows), swiglu, products_.device()).tuning == tuning;
      Measurement measurement;
      measurement.what = swiglu ? "awq gate_up + swiglu" : "awq product";
      measurement.shape = weight.name;
      measurement.variant =
          Format("%d warps %d tiles %d stages, %d ahead, %s, grid %d x %d%s", tuned.warps,
                 tuned.members, tuned.stages, tuned.ahead, tuned.whole ? "whole" : "split",
                 plan.blocks, plan.slices, chosen ? ", chosen" : "");
      measurement.rows = rows;
      measurement.bytes = weight.bytes;
      const auto launch = [&](int copy) {
        const AwqWeights& weights = weight.Copy(copy);
        for (int64_t row = 0; row < rows; row += kCheckedRows) {
          AwqProduct(weights, Operands(weights, std::min(rows - row, kCheckedRows), swiglu), plan,
                     stream_);
        }
      };
      if (AwqPartialBytes(first, plan, std::min(rows, kCheckedRows)) > products_.partial_bytes()) {
        report_.PrintSkipped(measurement, "partial sums need more memory");
        continue;
      }
      operands_.PoisonOut();
      launch(0);
      measurement.error = operands_.Error(first, rows, swiglu);
      measurement.microseconds = report_.Microseconds(launch, AwqRepeats(weight));
      report_.Print(measurement);
    }
  }

  // Through dequantised columns; not in a graph, since it works on two streams.
  void Dense(const AwqBenchWeight& weight, int64_t rows) {
    const AwqWeights& first = weight.copies[0];
    const Matrix x = operands_.X(first, rows), out = operands_.Out(first, rows);
    const int64_t chosen = workspace_.ColumnsAtOnce(first, rows);
    std::vector<int64_t> widths = {1024, 2048, 2560, 3072, 4096, 5120, 8192, chosen};
    std::sort(widths.begin(), widths.end());
    widths.erase(std::unique(widths.begin(), widths.end()), widths.end());
    for (const int64_t columns : widths) {
      for (const bool overlaps : {false, true}) {
        Measurement measurement;
        measurement.what = "awq through columns";
        measurement.shape = weight.name;
        measurement.variant =
            Format("%lld columns%s%s", static_cast<long long>(columns),
                   overlaps ? ", two streams" : "", columns == chosen ? ", chosen" : "");
        measurement.rows = rows;
        measurement.bytes = weight.bytes;
        if (std::min(columns, first.out_features) * first.in_features * 2 > workspace_.Room()) {
          continue;
        }
        const auto launch = [&](int copy) {
          workspace_.DenseProduct(weight.Copy(copy), x, nullptr, out, columns, overlaps, blas_);
        };
        operands_.PoisonOut();
        launch(0);
        measurement.error = operands_.Error(first, rows, false);
        measurement.microseconds = Time(launch, 6);
        report_.Print(measurement);
      }
    }
    // What the product by itself takes, and dequantising by itself.
    const int64_t columns = std::min<int64_t>(first.out_features, 2560);
    const DeviceMemory dense(static_cast<size_t>(columns * first.in_features) * 2);
    AwqDequantize(first, 0, columns, dense.As<__nv_bfloat16>(), stream_);
    Measurement measurement;
    measurement.shape = weight.name;
    measurement.rows = rows;
    measurement.variant = Format("%lld columns", static_cast<long long>(columns));
    measurement.bytes = static_cast<double>(dense.bytes());
    measurement.what = "awq dequantising only";
    measurement.microseconds =
        Time([&](int) { AwqDequantize(first, 0, columns, dense.As<__nv_bfloat16>(), stream_); }, 6);
    report_.Print(measurement);
    measurement.what = "awq dense product only";
    measurement.microseconds = Time(
        [&](int) {
          blas_.Product(x, MakeMatrix(dense.data(), DType::kBFloat16, columns, first.in_features),
                        nullptr, out.Cols(0, columns));
        },
        6);
    report_.Print(measurement);
  }

  // As plans choose them.
  void Layer(const AwqBenchWeights& weights, const std::string& shape, int64_t rows) {
    operands_.Layer("awq layer", shape, weights, rows, [&](const AwqWeights& one, size_t i) {
      const bool swiglu = i == kAwqGateUp;
      AwqProduct(one, Operands(one, rows, swiglu), PlanAwq(one, rows, swiglu, products_.device()),
                 stream_);
    });
  }

 private:
  ProductOperands Operands(const AwqWeights& weights, int64_t rows, bool swiglu) const {
    return operands_.For(weights, rows, swiglu, products_.partial());
  }

  template <typename Launch>
  double Time(const Launch& launch, int count) const {
    const auto work = [&] {
      for (int i = 0; i < count; ++i) launch(i);
    };
    return report_.BestMicroseconds(work, 2) / count;
  }

  Report& report_;
  Stream& stream_;
  ProductWorkspace products_;
  AwqWorkspace workspace_;
  BlasLt blas_;
  AwqBenchOperands operands_;
};

void BenchAwq(Report& report) {
  Bench bench(report);
  for (const int64_t world_size : {1, 4}) {
    const AwqBenchWeights weights = MakeAwqLayer(world_size);
    for (size_t i = 0; i < weights.size(); ++i) {
      const AwqBenchWeight& weight = *weights[i];
      bench.operands().MakeReference(weight.copies[0], i == kAwqGateUp);
      for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64}) {
        bench.Packed(weight, rows, false);
        if (i == kAwqGateUp) bench.Packed(weight, rows, true);
      }
      if (world_size > 1) continue;
      for (const int64_t rows : {128, 256}) bench.Packed(weight, rows, false);
      for (const int64_t rows : {128, 256, 1024}) bench.Dense(weight, rows);
    }
    for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64}) {
      bench.Layer(weights, Format("world size %lld", static_cast<long long>(world_size)), rows);
    }
  }
}

const BenchRegistration kRegistration("awq", &BenchAwq);

}  // namespace
}  // namespace skein::cuda
