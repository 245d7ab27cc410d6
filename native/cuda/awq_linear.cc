// AWQ int4 linears: few rows are multiplied straight from the packed form; many, too, where there
// are warpgroup products (Hopper), and otherwise through dequantised columns; in deterministic mode
// always by the kernel for few.
#include <algorithm>

#include "cuda/awq_workspace.h"
#include "cuda/cuda_linear.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/linear_parts.h"

namespace skein::cuda {
namespace {

// Up to here passes over the packed weights cost less than dequantising them once.
constexpr int64_t kPackedRows = 192;
// Up to here the kernel for few rows is faster than the wide one.
constexpr int64_t kFewRows = 16;

int64_t RoundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

class AwqLinear final : public CudaLinear {
 public:
  AwqLinear(const RawLinear& raw, DeviceArena& arena, AwqWorkspace& workspace, Stream& stream)
      : workspace_(workspace), bias_(raw.bias, arena) {
    if (raw.group_size <= 0 || raw.group_size % kAwqGroupStep != 0) {
      throw Error("UNSUPPORTED_MODEL",
                  Format("AWQ group size %lld: the CUDA back end takes multiples of %d",
                         static_cast<long long>(raw.group_size), kAwqGroupStep));
    }
    weights_.in_features = raw.in_features;
    weights_.out_features = raw.out_features;
    weights_.padded_out = RoundUp(raw.out_features, 2 * kAwqTileColumns);
    weights_.units = RoundUp(raw.in_features + raw.group_offset, kAwqUnitInputs) / kAwqUnitInputs;
    weights_.group_size = raw.group_size;
    weights_.group_offset = raw.group_offset;
    weights_.tables_per_unit =
        raw.group_size % kAwqUnitInputs == 0 ? 1 : kAwqUnitInputs / kAwqGroupStep;
    const auto num_words =
        static_cast<size_t>(weights_.padded_out * weights_.units * kAwqUnitInputs / 8);
    const auto num_tables =
        static_cast<size_t>(weights_.padded_out * weights_.units * weights_.tables_per_unit);
    weights_.words = arena.New<uint32_t>(num_words);
    weights_.tables = arena.New<uint32_t>(num_tables);
    weights_.tickets = arena.New<uint32_t>(kAwqMaxTickets);
    weight_bytes_ = (num_words + num_tables + kAwqMaxTickets) * sizeof(uint32_t) + bias_.bytes;

    const DeviceView qweight(raw.qweight), qzeros(raw.qzeros), scales(raw.scales);
    PackAwq(weights_, qweight.As<int32_t>(), qzeros.As<int32_t>(), scales.As<void>(),
            raw.scales.type == DType::kFloat16, stream);
    stream.Synchronize();
  }

  int64_t in_features() const override { return weights_.in_features; }
  int64_t out_features() const override { return weights_.out_features; }
  size_t weight_bytes() const override { return weight_bytes_; }

  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    if (RunWide(x, out, false, stream)) return;
    if (IsPacked(x.rows, stream)) {
      RunPacked(x, out, false, stream);
    } else {
      workspace_.DenseProduct(weights_, x, bias_.For(out.type), out,
                              workspace_.ColumnsAtOnce(weights_, x.rows), true, blas);
    }
  }

  bool RunSwiGlu(const Matrix& x, const Matrix& out, Stream& stream) const override {
    if (RunWide(x, out, true, stream)) return true;
    if (!IsPacked(x.rows, stream) || !AwqTakes(weights_, kAwqWhole, 1, true)) return false;
    RunPacked(x, out, true, stream);
    return true;
  }

 private:
  bool IsPacked(int64_t rows, Stream& stream) const {
    return rows <= kPackedRows || workspace_.deterministic() || stream.IsCapturing();
  }

  AwqOperands Operands(const Matrix& x, const Matrix& out, bool swiglu) const {
    AwqOperands operands{};
    operands.x = x.As<const __nv_bfloat16>();
    operands.x_stride = x.stride;
    operands.rows = x.rows;
    operands.bias = bias_.as_float;
    operands.out = out.data;
    operands.out_is_float = out.type == DType::kFloat32;
    operands.out_stride = out.stride;
    operands.swiglu = swiglu;
    operands.partial = workspace_.partial();
    return operands;
  }

  // False, with nothing done, where another way is better or the only one.
  bool RunWide(const Matrix& x, const Matrix& out, bool swiglu, Stream& stream) const {
    if (x.rows <= kFewRows || workspace_.deterministic()) return false;
    const AwqOperands operands = Operands(x, out, swiglu);
    if (!AwqWideTakes(weights_, operands, workspace_.device())) return false;
    const AwqWidePlan plan = PlanAwqWide(weights_, x.rows, workspace_.device());
    SKEIN_CHECK(AwqWidePartialBytes(plan) <= workspace_.partial_bytes(),
                "%zu bytes of partial sums", AwqWidePartialBytes(plan));
    AwqWideProduct(weights_, operands, plan, stream);
    return true;
  }

  void RunPacked(const Matrix& x, const Matrix& out, bool swiglu, Stream& stream) const {
    const auto plan_for = [&](int64_t rows) {
      return workspace_.deterministic()
                 ? PlanAwqDeterministic(weights_, swiglu, workspace_.device())
                 : PlanAwq(weights_, rows, swiglu, workspace_.device());
    };
    for (int64_t first = 0; first < x.rows;) {
      int64_t rows = std::min<int64_t>(kAwqMaxRows, x.rows - first);
      AwqPlan plan = plan_for(rows);
      while (AwqPartialBytes(weights_, plan, rows) > workspace_.partial_bytes()) {
        SKEIN_CHECK(rows > 1, "partial sums of a row take %zu bytes",
                    AwqPartialBytes(weights_, plan, rows));
        rows /= 2;
        plan = plan_for(rows);
      }
      AwqProduct(weights_, Operands(x.Rows(first, rows), out.Rows(first, rows), swiglu), plan,
                 stream);
      first += rows;
    }
  }

  AwqWorkspace& workspace_;
  AwqWeights weights_{};
  size_t weight_bytes_ = 0;
  const LinearBias bias_;
};

}  // namespace

std::unique_ptr<CudaLinear> MakeAwqLinear(const RawLinear& raw, DeviceArena& arena,
                                          AwqWorkspace& workspace, Stream& stream) {
  return std::make_unique<AwqLinear>(raw, arena, workspace, stream);
}

}  // namespace skein::cuda
