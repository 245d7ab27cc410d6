// A linear with float8 weights (ops/backend.h, WeightFormat::kFloat8) on the processor, which has
// no products of float8: values are written out in the compute type, where they are exact, and rows
// of x are quantised to float8 values before they are multiplied. Bound by reading two or four
// bytes a weight: what it is for is the same meaning as on a GPU.
#pragma once

#include <memory>

#include "cpu/packed_linear.h"

namespace skein::cpu {

class Float8Linear final : public CpuLinear {
 public:
  // raw: float8 with weight_scales, or float32 or bfloat16 to be quantised.
  Float8Linear(const RawLinear& raw, DType compute_type, const KernelTable& kernels,
               ThreadPool& pool);

  int64_t in_features() const override { return values_->in_features(); }
  int64_t out_features() const override { return values_->out_features(); }
  size_t weight_bytes() const override {
    return values_->weight_bytes() + scales_.bytes() + bias_.bytes();
  }
  size_t ScratchBytes() const override;
  void Multiply(const Matrix& x, Activation activation, const Matrix& out, ThreadPool& pool,
                void* scratch) const override;

 private:
  // A row of x as float8 values, and its scale.
  float QuantizeRow(const float* x, float* values) const;

  const KernelTable& kernels_;
  const DType compute_type_;
  const float input_scale_;  // 0: each row has its own
  std::unique_ptr<PackedLinear> values_;
  AlignedBuffer scales_;  // [out] float32
  AlignedBuffer bias_;    // [out] float32, or empty
};

}  // namespace skein::cpu
