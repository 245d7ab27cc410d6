// Every op once more in plain loops and double precision: what the back ends are compared with.
// Also the random matrices and the comparison that the op tests share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"
#include "ops/backend.h"

namespace skein::test {

// A float32 or bfloat16 matrix that owns its memory. `padding` extra elements between rows hold
// NaN.
class HostMatrix {
 public:
  HostMatrix(int64_t rows, int64_t cols, int64_t padding = 0, DType type = DType::kFloat32);
  Matrix view() const { return view_; }
  float At(int64_t row, int64_t col) const;
  void Set(int64_t row, int64_t col, float value);
  const float* Floats() const { return view_.As<float>(); }
  int64_t rows() const { return view_.rows; }
  int64_t cols() const { return view_.cols; }

 private:
  std::vector<uint32_t> storage_;
  Matrix view_;
};

// A small fixed generator: the same numbers with every standard library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint32_t Next();
  // Roughly normal, standard deviation 1.
  float Normal();
  // In [0, limit).
  int64_t Below(int64_t limit) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(limit));
  }

 private:
  uint64_t state_;
};

HostMatrix RandomMatrix(Random& random, int64_t rows, int64_t cols, float scale = 1,
                        int64_t padding = 0, DType type = DType::kFloat32);
// All NaN: an op that forgets an element is seen.
HostMatrix PoisonedMatrix(int64_t rows, int64_t cols, int64_t padding = 0);

// An AWQ triple with random words, and its dequantised weight [out, in].
struct AwqMatrix {
  std::vector<uint32_t> qweight, qzeros;
  std::vector<uint16_t> scales;
  RawLinear raw;
  HostMatrix dequantised;
};
AwqMatrix RandomAwq(Random& random, int64_t in, int64_t out, int64_t group_size,
                    int64_t group_offset);

// EXPECTs every element of `actual` within tolerance * (1 + |expected|) of `expected`, and no NaN;
// prints where it is worst.
void ExpectNear(const HostMatrix& actual, const HostMatrix& expected, double tolerance,
                const std::string& what);
// What a back end of host memory makes of a product.
HostMatrix ComputedLinear(Backend& backend, const PreparedLinear& linear, const HostMatrix& x,
                          Activation activation);
// True if the rows have the same bits.
bool SameBits(const Matrix& a, int64_t row_a, const Matrix& b, int64_t row_b);

// Of a step whose sequences do not matter; the arguments outlive it.
StepMetadata TokensOnly(const std::vector<int32_t>& ids, const std::vector<int32_t>& positions,
                        const std::vector<int64_t>& slots);

// ---- the ops ----
// Inputs of the product are rounded to compute_type.
HostMatrix ReferenceLinear(const HostMatrix& x, const HostMatrix& weight, const float* bias,
                           Activation activation, DType compute_type);
HostMatrix ReferenceNorm(const HostMatrix& x, const NormWeights& norm);
HostMatrix ReferenceSwiGlu(const HostMatrix& gate_up);
// q, k and v of one sequence, rotated by position: qkv [n, (hq + 2 hkv) d] -> the same shape.
HostMatrix ReferenceRotary(const HostMatrix& qkv, std::span<const int32_t> positions,
                           int64_t num_heads, int64_t num_kv_heads, int64_t head_dim, double theta);
// One head: q [nq, d] at the last nq of the positions of k, v [nk, d].
HostMatrix ReferenceAttention(const HostMatrix& q, const HostMatrix& k, const HostMatrix& v,
                              bool causal);

}  // namespace skein::test
