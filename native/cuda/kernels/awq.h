// AWQ int4 products. Weights stay packed in a layout made for tensor core fragments; few rows are
// multiplied straight from it, many rows through a dequantised bfloat16 copy of some columns at a
// time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace skein::cuda {

inline constexpr int kAwqTileColumns = 16;
inline constexpr int kAwqTileRows = 64;
// Rows of x that AwqProduct takes at once.
inline constexpr int kAwqMaxRows = 32;

// The packed form. Input rows are shifted by group_offset, so that groups begin at multiples of
// group_size; rows outside the slice hold the value whose product is nothing because x is taken as
// zero there.
struct AwqWeights {
  // [out / 16, padded_in / 64, 32 lanes, 4 words]: word j of lane l holds output rows l / 4 and l /
  // 4 + 8 at inputs 16 (l % 4) + 4 j + {0, 1, 2, 3}; nibble p and nibble p + 4 are the two halves
  // of fragment register p.
  uint32_t* words;
  // [groups, out]: scale and 128 + zero, both exact in float16.
  __half2* scale_zero;
  int64_t in_features;
  int64_t out_features;  // padded to a multiple of 16 with zero scales
  int64_t padded_in;     // multiple of 64
  int64_t group_size;    // multiple of 64
  int64_t group_offset;
};

// raw: qweight int32 [in, out / 8], qzeros int32 [groups, out / 8], scales float16 or float32
// [groups, out], all on the device.
void PackAwq(const AwqWeights& weights, const int32_t* qweight, const int32_t* qzeros,
             const void* scales, bool scales_are_half, int64_t valid_out, cudaStream_t stream);

// out [rows, valid_out] = x [rows, in] W + bias; rows at most kAwqMaxRows; bias float32 or null;
// out bfloat16 or float32.
void AwqProduct(const AwqWeights& weights, const __nv_bfloat16* x, int64_t x_stride, int64_t rows,
                const float* bias, int64_t valid_out, void* out, bool out_is_float,
                int64_t out_stride, cudaStream_t stream);

// dense [columns, in] bfloat16 = rows of W^T for output columns first .. first + columns - 1; first
// is a multiple of 16.
void AwqDequantize(const AwqWeights& weights, int64_t first, int64_t columns, __nv_bfloat16* dense,
                   cudaStream_t stream);

}  // namespace skein::cuda
