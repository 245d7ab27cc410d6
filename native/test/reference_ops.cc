#include "test/reference_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace skein::test {
namespace {

double RoundTo(DType type, float x) {
  return type == DType::kBFloat16 ? static_cast<double>(static_cast<float>(BFloat16(x))) : x;
}

}  // namespace

HostMatrix::HostMatrix(int64_t rows, int64_t cols, int64_t padding, DType type) {
  const int64_t stride = cols + padding;
  // 0x7fc0 is NaN in bfloat16, and twice in a row in float32.
  storage_.assign(static_cast<size_t>(rows * stride + 1), 0x7fc07fc0u);
  view_ = {storage_.data(), type, rows, cols, stride};
}

float HostMatrix::At(int64_t row, int64_t col) const {
  const int64_t i = row * view_.stride + col;
  return view_.type == DType::kFloat32 ? view_.As<float>()[i]
                                       : static_cast<float>(view_.As<BFloat16>()[i]);
}

void HostMatrix::Set(int64_t row, int64_t col, float value) {
  const int64_t i = row * view_.stride + col;
  if (view_.type == DType::kFloat32) {
    view_.As<float>()[i] = value;
  } else {
    view_.As<BFloat16>()[i] = BFloat16(value);
  }
}

uint32_t Random::Next() {
  state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>((state_ ^ (state_ >> 29)) >> 32);
}

float Random::Normal() {
  // Sum of four uniform numbers, scaled to variance 1.
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>(Next() >> 8) / 16777216.0f - 0.5f;
  return sum * 1.7320508f;
}

HostMatrix RandomMatrix(Random& random, int64_t rows, int64_t cols, float scale, int64_t padding,
                        DType type) {
  HostMatrix m(rows, cols, padding, type);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) m.Set(r, c, random.Normal() * scale);
  }
  return m;
}

HostMatrix PoisonedMatrix(int64_t rows, int64_t cols, int64_t padding) {
  return HostMatrix(rows, cols, padding);
}

AwqMatrix RandomAwq(Random& random, int64_t in, int64_t out, int64_t group_size,
                    int64_t group_offset) {
  constexpr int kShift[8] = {0, 16, 4, 20, 8, 24, 12, 28};
  const int64_t groups = (in + group_offset + group_size - 1) / group_size;
  AwqMatrix awq{{}, {}, {}, {}, HostMatrix(out, in)};
  for (int64_t i = 0; i < in * out / 8; ++i) awq.qweight.push_back(random.Next());
  for (int64_t i = 0; i < groups * out / 8; ++i) awq.qzeros.push_back(random.Next());
  for (int64_t i = 0; i < groups * out; ++i) {
    // float16 between 2^-7 and 2^-5.
    awq.scales.push_back(static_cast<uint16_t>(0x2000 + random.Below(0x800)));
  }
  awq.raw.in_features = in;
  awq.raw.out_features = out;
  awq.raw.qweight = MakeMatrix(awq.qweight.data(), DType::kInt32, in, out / 8);
  awq.raw.qzeros = MakeMatrix(awq.qzeros.data(), DType::kInt32, groups, out / 8);
  awq.raw.scales = MakeMatrix(awq.scales.data(), DType::kFloat16, groups, out);
  awq.raw.group_size = group_size;
  awq.raw.group_offset = group_offset;
  for (int64_t i = 0; i < in; ++i) {
    const int64_t group = (i + group_offset) / group_size;
    for (int64_t c = 0; c < out; ++c) {
      const uint32_t q = awq.qweight[static_cast<size_t>(i * (out / 8) + c / 8)] >> kShift[c % 8];
      const uint32_t z =
          awq.qzeros[static_cast<size_t>(group * (out / 8) + c / 8)] >> kShift[c % 8];
      const float scale = HalfToFloat(awq.scales[static_cast<size_t>(group * out + c)]);
      awq.dequantised.Set(
          c, i, static_cast<float>(static_cast<int>(q & 15) - static_cast<int>(z & 15)) * scale);
    }
  }
  return awq;
}

void ExpectNear(const HostMatrix& actual, const HostMatrix& expected, double tolerance,
                const std::string& what) {
  ASSERT_EQ(actual.rows(), expected.rows()) << what;
  ASSERT_EQ(actual.cols(), expected.cols()) << what;
  double worst = 0;
  int64_t worst_row = 0, worst_col = 0;
  for (int64_t r = 0; r < actual.rows(); ++r) {
    for (int64_t c = 0; c < actual.cols(); ++c) {
      const double e = expected.At(r, c);
      const double error = std::abs(actual.At(r, c) - e) / (1 + std::abs(e));
      // Not `error > worst`: a NaN must count as the worst.
      if (!(error <= worst)) {
        worst = error;
        worst_row = r;
        worst_col = c;
        if (std::isnan(error)) break;
      }
    }
    if (std::isnan(worst)) break;
  }
  EXPECT_LE(worst, tolerance) << what << ": element [" << worst_row << ", " << worst_col << "] is "
                              << actual.At(worst_row, worst_col) << ", expected "
                              << expected.At(worst_row, worst_col);
}

HostMatrix ComputedLinear(Backend& backend, const PreparedLinear& linear, const HostMatrix& x,
                          Activation activation) {
  HostMatrix out = PoisonedMatrix(x.rows(), linear.out_features(), 3);
  backend.Linear(linear, x.view(), activation, out.view());
  return out;
}

bool SameBits(const Matrix& a, int64_t row_a, const Matrix& b, int64_t row_b) {
  return a.cols == b.cols && a.type == b.type &&
         std::memcmp(a.Rows(row_a, 1).data, b.Rows(row_b, 1).data, a.RowBytes()) == 0;
}

StepMetadata TokensOnly(const std::vector<int32_t>& ids, const std::vector<int32_t>& positions,
                        const std::vector<int64_t>& slots) {
  StepMetadata metadata;
  metadata.token_ids = ids;
  metadata.positions = positions;
  metadata.slot_mapping = slots;
  return metadata;
}

HostMatrix ReferenceLinear(const HostMatrix& x, const HostMatrix& weight, const float* bias,
                           Activation activation, DType compute_type) {
  HostMatrix out(x.rows(), weight.rows());
  for (int64_t r = 0; r < x.rows(); ++r) {
    for (int64_t c = 0; c < weight.rows(); ++c) {
      double sum = 0;
      for (int64_t k = 0; k < x.cols(); ++k) {
        sum += RoundTo(compute_type, x.At(r, k)) * weight.At(c, k);
      }
      if (bias != nullptr) sum += bias[c];
      if (activation == Activation::kGeluErf)
        sum = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
      out.Set(r, c, static_cast<float>(sum));
    }
  }
  return out;
}

HostMatrix ReferenceNorm(const HostMatrix& x, const NormWeights& norm) {
  HostMatrix out(x.rows(), x.cols());
  const double n = static_cast<double>(x.cols());
  for (int64_t r = 0; r < x.rows(); ++r) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < x.cols(); ++c) mean += x.At(r, c) / n;
    if (norm.kind == NormKind::kRms) mean = 0;
    for (int64_t c = 0; c < x.cols(); ++c)
      variance += (x.At(r, c) - mean) * (x.At(r, c) - mean) / n;
    const double factor = 1 / std::sqrt(variance + norm.eps);
    for (int64_t c = 0; c < x.cols(); ++c) {
      const double bias = norm.kind == NormKind::kRms ? 0.0 : norm.bias[c];
      out.Set(r, c, static_cast<float>((x.At(r, c) - mean) * factor * norm.weight[c] + bias));
    }
  }
  return out;
}

HostMatrix ReferenceSwiGlu(const HostMatrix& gate_up) {
  const int64_t m = gate_up.cols() / 2;
  HostMatrix out(gate_up.rows(), m);
  for (int64_t r = 0; r < gate_up.rows(); ++r) {
    for (int64_t c = 0; c < m; ++c) {
      const double gate = gate_up.At(r, c);
      out.Set(r, c, static_cast<float>(gate / (1 + std::exp(-gate)) * gate_up.At(r, m + c)));
    }
  }
  return out;
}

HostMatrix ReferenceRotary(const HostMatrix& qkv, std::span<const int32_t> positions,
                           int64_t num_heads, int64_t num_kv_heads, int64_t head_dim,
                           double theta) {
  HostMatrix out(qkv.rows(), qkv.cols());
  const int64_t half = head_dim / 2;
  for (int64_t r = 0; r < qkv.rows(); ++r) {
    for (int64_t c = 0; c < qkv.cols(); ++c) out.Set(r, c, qkv.At(r, c));
    for (int64_t h = 0; h < num_heads + num_kv_heads; ++h) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = positions[static_cast<size_t>(r)] *
                             std::pow(theta, -2.0 * static_cast<double>(i) / head_dim);
        const double a = qkv.At(r, h * head_dim + i), b = qkv.At(r, h * head_dim + half + i);
        out.Set(r, h * head_dim + i, static_cast<float>(a * std::cos(angle) - b * std::sin(angle)));
        out.Set(r, h * head_dim + half + i,
                static_cast<float>(b * std::cos(angle) + a * std::sin(angle)));
      }
    }
  }
  return out;
}

HostMatrix ReferenceAttention(const HostMatrix& q, const HostMatrix& k, const HostMatrix& v,
                              bool causal) {
  const int64_t d = q.cols();
  HostMatrix out(q.rows(), d);
  for (int64_t r = 0; r < q.rows(); ++r) {
    const int64_t visible = causal ? k.rows() - q.rows() + r + 1 : k.rows();
    std::vector<double> weights(static_cast<size_t>(visible));
    double highest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t i = 0; i < visible; ++i) {
      double score = 0;
      for (int64_t c = 0; c < d; ++c) score += static_cast<double>(q.At(r, c)) * k.At(i, c);
      weights[static_cast<size_t>(i)] = score / std::sqrt(static_cast<double>(d));
      highest = std::max(highest, weights[static_cast<size_t>(i)]);
    }
    for (double& weight : weights) sum += weight = std::exp(weight - highest);
    for (int64_t c = 0; c < d; ++c) {
      double value = 0;
      for (int64_t i = 0; i < visible; ++i) value += weights[static_cast<size_t>(i)] * v.At(i, c);
      out.Set(r, c, static_cast<float>(value / sum));
    }
  }
  return out;
}

}  // namespace skein::test
