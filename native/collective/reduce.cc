// The loops of the rank-ordered reduction. Plain adds and compares, no fused multiply-add: each
// clone gives the same bits.
#include "collective/reduce.h"

#include <algorithm>

#include "core/error.h"
#include "core/vector_clones.h"

namespace skein {
namespace {

// Elements that are accumulated at a time; the accumulator (4 KiB) stays in the first-level cache.
constexpr int64_t kBlock = 1024;

SKEIN_VECTOR_CLONES void Add(const float* __restrict in, int64_t n, float* __restrict sum) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) sum[i] += in[i];
}

SKEIN_VECTOR_CLONES void AddWidened(const uint16_t* __restrict in, int64_t n,
                                    float* __restrict sum) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    sum[i] += std::bit_cast<float>(static_cast<uint32_t>(in[i]) << 16);
  }
}

// NaN wins, the first one where there are several.
SKEIN_VECTOR_CLONES void Max(const float* __restrict in, int64_t n, float* __restrict top) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float a = top[i];
    const float b = in[i];
    top[i] = (a != a || a >= b) ? a : b;
  }
}

SKEIN_VECTOR_CLONES void Widen(const uint16_t* __restrict in, int64_t n, float* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(in[i]) << 16);
  }
}

// Round to nearest even; NaN stays NaN.
SKEIN_VECTOR_CLONES void Narrow(const float* __restrict in, int64_t n, uint16_t* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = std::bit_cast<uint32_t>(in[i]);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    out[i] = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
}

void AccumulateFloat(const float* in, int64_t n, ReduceOp op, float* accumulator) {
  if (op == ReduceOp::kSum) {
    Add(in, n, accumulator);
  } else {
    Max(in, n, accumulator);
  }
}

void AccumulateBFloat16(const uint16_t* in, int64_t n, ReduceOp op, float* accumulator) {
  if (op == ReduceOp::kSum) {
    AddWidened(in, n, accumulator);
    return;
  }
  float wide[kBlock];
  Widen(in, n, wide);
  Max(wide, n, accumulator);
}

}  // namespace

void CheckReducible(DType type) {
  if (type == DType::kFloat32 || type == DType::kBFloat16) return;
  throw Error("INVALID_REQUEST",
              Format("all-reduce of %s: only float32 and bfloat16 are reduced", Name(type)));
}

void ReduceInRankOrder(std::span<const void* const> inputs, int64_t count, DType type, ReduceOp op,
                       void* out) {
  CheckReducible(type);
  SKEIN_CHECK(!inputs.empty(), "nothing to reduce");
  float accumulator[kBlock];
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t n = std::min(kBlock, count - start);
    if (type == DType::kFloat32) {
      std::copy_n(static_cast<const float*>(inputs[0]) + start, n, accumulator);
      for (size_t r = 1; r < inputs.size(); ++r) {
        AccumulateFloat(static_cast<const float*>(inputs[r]) + start, n, op, accumulator);
      }
      std::copy_n(accumulator, n, static_cast<float*>(out) + start);
    } else {
      Widen(static_cast<const uint16_t*>(inputs[0]) + start, n, accumulator);
      for (size_t r = 1; r < inputs.size(); ++r) {
        AccumulateBFloat16(static_cast<const uint16_t*>(inputs[r]) + start, n, op, accumulator);
      }
      Narrow(accumulator, n, static_cast<uint16_t*>(out) + start);
    }
  }
}

}  // namespace skein
