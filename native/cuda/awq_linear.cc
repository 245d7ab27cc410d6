// AWQ int4 linears: few rows are multiplied straight from the packed form; many, too, where there
// are warpgroup products (Hopper), and otherwise through dequantised columns (product_rules.h). In
// deterministic mode Hopper multiplies many by a wide kernel that leaves the bits of the one for
// few; before Hopper, and where groups are no multiples of 128 inputs, that one takes all.
#include <algorithm>

#include "cuda/awq_workspace.h"
#include "cuda/cuda_linear.h"
#include "cuda/kernels/awq_wide.h"
#include "cuda/linear_parts.h"
#include "cuda/product_rules.h"

namespace skein::cuda {
namespace {

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
    const AwqPacking packing(raw.in_features, raw.out_features, raw.group_size, raw.group_offset);
    weights_.padded_out = packing.padded_out;
    weights_.units = packing.units;
    weights_.group_size = raw.group_size;
    weights_.group_offset = raw.group_offset;
    weights_.tables_per_unit = packing.tables_per_unit;
    weights_.words = arena.New<uint32_t>(static_cast<size_t>(packing.words()));
    weights_.tables = arena.New<uint32_t>(static_cast<size_t>(packing.tables()));
    weights_.tickets = arena.New<uint32_t>(kAwqMaxTickets);
    weight_bytes_ = static_cast<size_t>(packing.bytes()) + bias_.bytes;

    const DeviceView qweight(raw.qweight), qzeros(raw.qzeros), scales(raw.scales);
    PackAwq(weights_, qweight.As<int32_t>(), qzeros.As<int32_t>(), scales.As<void>(),
            raw.scales.type == DType::kFloat16, stream);
    stream.Synchronize();
  }

  int64_t in_features() const override { return weights_.in_features; }
  int64_t out_features() const override { return weights_.out_features; }
  size_t weight_bytes() const override { return weight_bytes_; }

  void Run(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const override {
    const ProductOperands operands = MakeOperands(x, bias_, out, false, products());
    const ProductKernel kernel = Choose(operands, stream);
    switch (kernel) {
      case ProductKernel::kWide:
      case ProductKernel::kExactWide:
        return RunWide(kernel, operands, stream);
      case ProductKernel::kFewRows:
        return RunPacked(x, out, false, stream);
      default:
        return workspace_.DenseProduct(weights_, x, bias_.For(out.type), out,
                                       workspace_.ColumnsAtOnce(weights_, x.rows), true, blas);
    }
  }

  bool RunSwiGlu(const Matrix& x, const Matrix& out, Stream& stream) const override {
    const ProductOperands operands = MakeOperands(x, bias_, out, true, products());
    const ProductKernel kernel = Choose(operands, stream);
    if (IsWide(kernel)) {
      RunWide(kernel, operands, stream);
    } else if (kernel == ProductKernel::kFewRows && AwqTakes(weights_, kAwqWhole, 1, true)) {
      RunPacked(x, out, true, stream);
    } else {
      return false;
    }
    return true;
  }

  bool RunAdded(const Matrix& x, const float* bias, const float* scale, const Matrix& residual,
                BlasLt&, Stream& stream) const override {
    if (x.rows < kFewestAddedRows || bias_.as_float != nullptr ||
        !MayAdd(bias, scale, products())) {
      return false;
    }
    const ProductOperands operands = MakeAddedOperands(x, bias, scale, residual, products());
    const ProductKernel kernel = Choose(operands, stream);
    if (!IsWide(kernel)) return false;
    RunWide(kernel, operands, stream);
    return true;
  }

 private:
  static bool IsWide(ProductKernel kernel) {
    return kernel == ProductKernel::kWide || kernel == ProductKernel::kExactWide;
  }

  ProductKernel Choose(const ProductOperands& operands, Stream& stream) const {
    const ProductKernel kernel = ChooseProduct(
        {WeightFormat::kAwq, products().deterministic(), operands.gelu, operands.rows,
         weights_.out_features},
        [&](ProductKernel each) {
          return !IsWide(each) || AwqWideTakes(weights_, operands, products().device());
        });
    // Columns are dequantised on a second stream.
    return kernel == ProductKernel::kDequantised && stream.IsCapturing() ? ProductKernel::kFewRows
                                                                         : kernel;
  }

  const ProductWorkspace& products() const { return workspace_.products(); }

  void RunWide(ProductKernel kernel, const ProductOperands& operands, Stream& stream) const {
    const bool is_exact = kernel == ProductKernel::kExactWide;
    const WidePlan plan = (is_exact ? PlanAwqExactWide(weights_, operands.rows, products().device())
                                    : PlanAwqWide(weights_, operands.rows, products().device()));
    SKEIN_CHECK(WidePartialBytes(plan) <= products().partial_bytes(), "%zu bytes of partial sums",
                WidePartialBytes(plan));
    (is_exact ? AwqExactWideProduct : AwqWideProduct)(weights_, operands, plan, stream);
  }

  void RunPacked(const Matrix& x, const Matrix& out, bool swiglu, Stream& stream) const {
    const auto plan_for = [&](int64_t rows) {
      return products().deterministic()
                 ? PlanAwqDeterministic(weights_, rows, swiglu, products().device())
                 : PlanAwq(weights_, rows, swiglu, products().device());
    };
    for (int64_t first = 0; first < x.rows;) {
      int64_t rows = std::min<int64_t>(kAwqMaxRows, x.rows - first);
      AwqPlan plan = plan_for(rows);
      while (plan.blocks == 0 ||
             AwqPartialBytes(weights_, plan, rows) > products().partial_bytes()) {
        SKEIN_CHECK(rows > 1, "a row in %d slices takes %zu bytes of partial sums", plan.slices,
                    AwqPartialBytes(weights_, plan, rows));
        rows /= 2;
        plan = plan_for(rows);
      }
      AwqProduct(
          weights_,
          MakeOperands(x.Rows(first, rows), bias_, out.Rows(first, rows), swiglu, products()), plan,
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
