// What the products of our own have in common, whatever form their weights have.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skein::cuda {

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
  const float* scale;
  float* partial;  // of the plan's size
};

}  // namespace skein::cuda
