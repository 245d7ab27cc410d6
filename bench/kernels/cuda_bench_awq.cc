// AWQ products of the 38 B model: every tuning of the packed product, gate and up with SwiGLU in
// one kernel, a layer's products in a row, and the way through dequantised columns with several
// widths. Each is checked against a plain loop first.
#include "cuda_bench_awq.h"

#include <algorithm>
#include <vector>

#include "cuda/awq_workspace.h"
#include "cuda/kernels/awq.h"
#include "cuda/kernels/elementwise.h"
#include "cuda_bench.h"

namespace skein::cuda {
namespace {

constexpr int64_t kCheckedRows = 64;
constexpr int64_t kMostRows = 1024;

class Bench {
 public:
  explicit Bench(Report& report)
      : report_(report),
        stream_(report.stream()),
        workspace_(stream_, false),
        blas_(stream_, BlasChoice::kTimed),
        x_(kMostRows * 27648 * 2),
        out_(kMostRows * 55296 * 4),
        reference_(kCheckedRows * 55296 * 4),
        activated_(kCheckedRows * 27648 * 2) {
    workspace_.Reserve(27648, 5120);
    workspace_.Reserve(5120, 55296);
    FillRandomBFloat16(x_.data(), kMostRows * 27648, 1.0f, 3, stream_);
  }

  AwqOperands Operands(const AwqWeights& weights, int64_t rows, bool swiglu) const {
    AwqOperands operands{};
    operands.x = x_.As<__nv_bfloat16>();
    operands.x_stride = weights.in_features;
    operands.rows = rows;
    operands.out = out_.data();
    operands.out_is_float = !swiglu;
    operands.out_stride = swiglu ? weights.out_features / 2 : weights.out_features;
    operands.swiglu = swiglu;
    operands.partial = workspace_.partial();
    return operands;
  }

  void Packed(const BenchWeight& weight, int64_t rows, bool swiglu) {
    const AwqWeights& first = weight.copies[0];
    for (int tuning = 0; tuning < kAwqNumTunings; ++tuning) {
      if (!AwqTakes(first, tuning, std::min(rows, kCheckedRows), swiglu)) continue;
      const AwqTuning& tuned = kAwqTunings[tuning];
      const AwqPlan plan =
          PlanAwq(first, std::min(rows, kCheckedRows), swiglu, workspace_.device(), tuning);
      const bool chosen =
          PlanAwq(first, std::min(rows, kCheckedRows), swiglu, workspace_.device()).tuning ==
          tuning;
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
        const AwqWeights& weights = weight.copies[static_cast<size_t>(copy) % weight.copies.size()];
        for (int64_t row = 0; row < rows; row += kCheckedRows) {
          AwqProduct(weights, Operands(weights, std::min(rows - row, kCheckedRows), swiglu), plan,
                     stream_);
        }
      };
      if (AwqPartialBytes(first, plan, std::min(rows, kCheckedRows)) > workspace_.partial_bytes()) {
        report_.PrintSkipped(measurement, "partial sums need more memory");
        continue;
      }
      SKEIN_CUDA(cudaMemsetAsync(out_.data(), 0xff, out_.bytes(), stream_));
      launch(0);
      const int64_t checked = std::min(rows, kCheckedRows);
      measurement.error = swiglu
                              ? RelativeDifference(out_.data(), activated_.data(),
                                                   checked * first.out_features / 2, false, stream_)
                              : RelativeDifference(out_.data(), reference_.data(),
                                                   checked * first.out_features, true, stream_);
      measurement.microseconds = report_.Microseconds(launch, Repeats(weight));
      report_.Print(measurement);
    }
  }

  // Through dequantised columns; not in a graph, since it works on two streams.
  void Dense(const BenchWeight& weight, int64_t rows) {
    const AwqWeights& first = weight.copies[0];
    const Matrix x = MakeMatrix(x_.data(), DType::kBFloat16, rows, first.in_features);
    const Matrix out = MakeMatrix(out_.data(), DType::kFloat32, rows, first.out_features);
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
          workspace_.DenseProduct(weight.copies[static_cast<size_t>(copy) % weight.copies.size()],
                                  x, nullptr, out, columns, overlaps, blas_);
        };
        SKEIN_CUDA(cudaMemsetAsync(out_.data(), 0xff, out_.bytes(), stream_));
        launch(0);
        measurement.error =
            RelativeDifference(out_.data(), reference_.data(),
                               std::min(rows, kCheckedRows) * first.out_features, true, stream_);
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

  void MakeReference(const AwqWeights& weights, bool swiglu) {
    AwqReference(weights, x_.As<__nv_bfloat16>(), weights.in_features, kCheckedRows,
                 reference_.As<float>(), stream_);
    if (!swiglu) return;
    SwiGlu(reference_.As<float>(), weights.out_features, kCheckedRows, weights.out_features / 2,
           activated_.As<__nv_bfloat16>(), weights.out_features / 2, stream_);
  }

  // The four products of layers that follow one another, as plans choose them.
  void Layer(const std::vector<const BenchWeight*>& weights, const char* name, int64_t rows) {
    Measurement measurement;
    measurement.what = "awq layer";
    measurement.shape = name;
    measurement.variant = "chosen";
    measurement.rows = rows;
    for (const BenchWeight* weight : weights) measurement.bytes += weight->bytes;
    measurement.microseconds = report_.Microseconds(
        [&](int copy) {
          for (size_t i = 0; i < weights.size(); ++i) {
            const auto& copies = weights[i]->copies;
            const AwqWeights& one = copies[static_cast<size_t>(copy) % copies.size()];
            const bool swiglu = i == 2;
            AwqProduct(one, Operands(one, rows, swiglu),
                       PlanAwq(one, rows, swiglu, workspace_.device()), stream_);
          }
        },
        8);
    report_.Print(measurement);
  }

 private:
  // Runs of one measurement: more for small weights, whose times are short.
  static int Repeats(const BenchWeight& weight) { return weight.bytes < 40e6 ? 32 : 8; }

  template <typename Launch>
  double Time(const Launch& launch, int count) const {
    const auto work = [&] {
      for (int i = 0; i < count; ++i) launch(i);
    };
    return report_.BestMicroseconds(work, 2) / count;
  }

  Report& report_;
  const cudaStream_t stream_;
  AwqWorkspace workspace_;
  BlasLt blas_;
  const DeviceMemory x_, out_, reference_, activated_;
};

void BenchAwq(Report& report) {
  Bench bench(report);
  for (const int64_t world_size : {1, 4}) {
    const int64_t shapes[][2] = {{5120, 7168 / world_size},
                                 {5120 / world_size, 5120},
                                 {5120, 55296 / world_size},
                                 {27648 / world_size, 5120}};
    const char* names[] = {"qkv", "o", "gate_up", "down"};
    std::vector<std::unique_ptr<BenchWeight>> weights;
    for (int i = 0; i < 4; ++i) {
      const auto [in, out] = shapes[i];
      weights.push_back(std::make_unique<BenchWeight>(
          Format("%s, world size %lld", names[i], static_cast<long long>(world_size)), in, out,
          Report::RotatingCopies(static_cast<size_t>(in * out / 2))));
      const BenchWeight& weight = *weights.back();
      const bool gate_up = i == 2;
      bench.MakeReference(weight.copies[0], gate_up);
      for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64}) {
        bench.Packed(weight, rows, false);
        if (gate_up) bench.Packed(weight, rows, true);
      }
      if (world_size > 1) continue;
      for (const int64_t rows : {128, 256}) bench.Packed(weight, rows, false);
      for (const int64_t rows : {128, 256, 1024}) bench.Dense(weight, rows);
    }
    for (const int64_t rows : {1, 2, 4, 8, 16, 32, 64}) {
      bench.Layer({weights[0].get(), weights[1].get(), weights[2].get(), weights[3].get()},
                  Format("world size %lld", static_cast<long long>(world_size)).c_str(), rows);
    }
  }
}

const BenchRegistration kRegistration("awq", &BenchAwq);

}  // namespace
}  // namespace skein::cuda
