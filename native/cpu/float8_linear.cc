#include "cpu/float8_linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/float8.h"

namespace skein::cpu {
namespace {

// Rows that are quantised at a time.
constexpr int64_t kRowsPerPass = 256;

size_t RoundUp(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Codes [out, in] of weights to be quantised, and their scales.
AlignedBuffer Quantize(const Matrix& weight, float* scales, ThreadPool& pool) {
  AlignedBuffer codes(static_cast<size_t>(weight.rows * weight.cols));
  pool.ParallelFor(weight.rows, [&](int64_t row) {
    const auto quantize = [&](const auto& value) {
      scales[row] =
          QuantizeToFloat8(value, weight.cols, 0, codes.As<uint8_t>() + row * weight.cols);
    };
    if (weight.type == DType::kFloat32) {
      const auto* values = weight.Rows(row, 1).As<const float>();
      quantize([values](int64_t i) { return values[i]; });
    } else {
      const auto* values = weight.Rows(row, 1).As<const BFloat16>();
      quantize([values](int64_t i) { return static_cast<float>(values[i]); });
    }
  });
  return codes;
}

}  // namespace

Float8Linear::Float8Linear(const RawLinear& raw, DType compute_type, const KernelTable& kernels,
                           ThreadPool& pool)
    : kernels_(kernels),
      compute_type_(compute_type),
      input_scale_(raw.input_scale),
      scales_(static_cast<size_t>(raw.out_features) * sizeof(float)) {
  RawLinear values = raw;
  values.quantizes = false;
  values.bias = values.weight_scales = Matrix{};
  AlignedBuffer codes;
  if (raw.quantizes) {
    codes = Quantize(raw.weight, scales_.As<float>(), pool);
    values.weight = MakeMatrix(codes.data(), DType::kFloat8E4M3, raw.out_features, raw.in_features);
  } else {
    SKEIN_CHECK(
        raw.weight_scales.type == DType::kFloat32 && raw.weight_scales.cols == raw.out_features,
        "float8 weights with %lld scales", static_cast<long long>(raw.weight_scales.cols));
    std::memcpy(scales_.data(), raw.weight_scales.data, scales_.bytes());
  }
  values_ = std::make_unique<PackedLinear>(values, compute_type, kernels, pool);
  if (raw.bias.data != nullptr) {
    bias_ = AlignedBuffer(static_cast<size_t>(raw.out_features) * sizeof(float));
    std::memcpy(bias_.data(), raw.bias.data, bias_.bytes());
  }
}

size_t Float8Linear::ScratchBytes() const {
  return RoundUp(values_->ScratchBytes()) +
         static_cast<size_t>(kRowsPerPass * (in_features() + 1)) * sizeof(float);
}

float Float8Linear::QuantizeRow(const float* x, float* values) const {
  const int64_t count = in_features();
  // What a GPU's activations are.
  const bool rounds = compute_type_ == DType::kBFloat16;
  float scale = input_scale_, largest = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    values[i] = rounds ? static_cast<float>(BFloat16(x[i])) : x[i];
    largest = std::max(largest, std::fabs(values[i]));
  }
  if (scale == 0.0f) scale = Float8ScaleOf(largest);
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < count; ++i) {
    values[i] = Float8ToFloat(FloatToFloat8(values[i] * inverse));
  }
  return scale;
}

void Float8Linear::Multiply(const Matrix& x, Activation activation, const Matrix& out,
                            ThreadPool& pool, void* scratch) const {
  SKEIN_CHECK(x.type == DType::kFloat32 && x.cols == in_features(), "x of %lld columns",
              static_cast<long long>(x.cols));
  auto* const own = static_cast<char*>(scratch) + RoundUp(values_->ScratchBytes());
  const Matrix values = MakeMatrix(own, DType::kFloat32, kRowsPerPass, in_features());
  float* const row_scales = values.As<float>() + kRowsPerPass * in_features();
  const auto* weight_scales = scales_.As<const float>();
  for (int64_t first = 0; first < x.rows; first += kRowsPerPass) {
    const int64_t rows = std::min(kRowsPerPass, x.rows - first);
    const Matrix from = x.Rows(first, rows), to = out.Rows(first, rows);
    pool.ParallelFor(rows, [&](int64_t row) {
      row_scales[row] =
          QuantizeRow(from.Rows(row, 1).As<const float>(), values.Rows(row, 1).As<float>());
    });
    values_->Multiply(values.Rows(0, rows), Activation::kNone, to, pool, scratch);
    pool.ParallelFor(rows, [&](int64_t row) {
      auto* sums = to.Rows(row, 1).As<float>();
      for (int64_t i = 0; i < to.cols; ++i) sums[i] = sums[i] * row_scales[row] * weight_scales[i];
      const float* bias = bias_.data() == nullptr ? nullptr : bias_.As<const float>();
      const bool gelu = activation == Activation::kGeluErf;
      if (bias != nullptr || gelu) kernels_.bias_gelu(bias, gelu, to.cols, sums);
    });
  }
}

}  // namespace skein::cpu
