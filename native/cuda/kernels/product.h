// What the products of our own have in common, whatever form their weights have.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skein::cuda {

// float8: a pair of codes stands in the place of each bfloat16 of x and of the weight, of which
// there are half as many as inputs; both scales are given, and sums are multiplied by those of
// their row and their column. A row of x has zeros after its last input.
struct ProductOperands {
  const __nv_bfloat16* x;
  int64_t x_stride;
  int64_t rows;
  const float* bias;  // or null
  void* out;          // bfloat16 or float32
  bool out_is_float;
  int64_t out_stride;
  // Columns are gate | up, out [rows, out / 2] = silu(gate) * up.
  bool swiglu;
  // out [rows, out] += scale * (sum + bias), float32; scale [out], or null for 1. Products of many
  // rows on Hopper only.
  bool adds;
  // out [rows, out] = gelu(sum + bias), exact (erf) form; bfloat16. Dense weights and many rows on
  // Hopper only.
  bool gelu;
  const float* scale;  // where it adds
  // float32; null: bfloat16. Of x, of as many rows as a tile may have, and eight more.
  const float* x_scales;
  const float* weight_scales;  // [out]
  float* partial;              // of the plan's size
};

}  // namespace skein::cuda
