// Launchers of the memory-bound kernels: embedding, norms, rotary, SwiGLU, vision reshuffles. Raw
// pointers, bfloat16 activations, float32 residuals, arithmetic and parameters. Rows are
// independent: no result depends on another row.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "cuda/stream.h"

namespace skein::cuda {

// out [rows, hidden]; id = token_ids[r], or last_tokens[slots[r]] where token_ids[r] is -1. Ids
// outside vocab_start .. vocab_start + vocab_rows give zero rows.
void EmbedTokens(const __nv_bfloat16* table, int64_t vocab_start, int64_t vocab_rows,
                 int64_t hidden, const int32_t* token_ids, const int32_t* slots,
                 const int32_t* last_tokens, int64_t rows, float* out, Stream& stream);

// out row out_rows[i] = source row source_rows[i]; a null index array means i itself.
void CopyRows(const float* source, int64_t source_stride, const int32_t* source_rows,
              const int32_t* out_rows, int64_t count, int64_t cols, float* out, int64_t out_stride,
              Stream& stream);

// Rows in float8 beside those in bfloat16, as QuantizeRows (float8.h) makes them; codes null: none.
struct Float8Rows {
  uint8_t* codes = nullptr;
  float* scales = nullptr;
};

struct NormArguments {
  bool is_layer_norm;
  const float* weight;  // [cols]
  const float* bias;    // [cols]; LayerNorm only
  float eps;
  Float8Rows quantized{};  // only where NormQuantizes
};
// Whether the two below can leave float8, too. Of the kernels of a group of ranks, none does.
bool NormQuantizes(int64_t cols, int64_t x_stride, int64_t residual_stride, int64_t normed_stride);

// normed = Norm(x). normed may be null where the norm leaves float8, which is of the same values.
void Norm(const float* x, int64_t x_stride, const NormArguments& norm, int64_t rows, int64_t cols,
          __nv_bfloat16* normed, int64_t normed_stride, Stream& stream);

// residual += scale * (x + bias); normed = Norm(residual) where normed is given. bias and scale
// [cols] may be null. Input: float or bfloat16.
template <typename Input>
void AddResidualNorm(const Input* x, int64_t x_stride, const float* bias, const float* scale,
                     float* residual, int64_t residual_stride, const NormArguments* norm,
                     int64_t rows, int64_t cols, __nv_bfloat16* normed, int64_t normed_stride,
                     Stream& stream);

struct RotaryArguments {
  __nv_bfloat16* qkv;  // [rows, (num_heads + 2 * num_kv_heads) * head_dim]
  int64_t stride;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t block_size;
  const float* inverse_frequencies;  // [head_dim / 2]
  const int32_t* positions;          // [rows]
  const int64_t* slot_mapping;       // [rows]; -1: skip
  __nv_bfloat16* keys;               // [blocks, num_kv_heads, block_size, head_dim]
  __nv_bfloat16* values;
};
// Rotates q in place and k on its way to the cache, copies v to the cache.
void RotaryStoreKv(const RotaryArguments& arguments, int64_t rows, Stream& stream);

// out [rows, width] = silu(gate_up[:, :width]) * gate_up[:, width:]; Input is float or
// __nv_bfloat16.
template <typename Input>
void SwiGlu(const Input* gate_up, int64_t stride, int64_t rows, int64_t width, __nv_bfloat16* out,
            int64_t out_stride, Stream& stream);

// x [rows, cols] = gelu(x + bias), exact (erf) form; bias may be null.
void BiasGelu(__nv_bfloat16* x, int64_t stride, const float* bias, int64_t rows, int64_t cols,
              bool gelu, Stream& stream);

// pixels uint8 [tiles, side, side, 3] on the device -> out [tiles * (side / patch)^2, 3 * patch^2],
// columns channel, row, column.
void PixelsToPatches(const uint8_t* pixels, int64_t tiles, int64_t side, int64_t patch,
                     const float mean[3], const float std[3], __nv_bfloat16* out,
                     int64_t out_stride, Stream& stream);

// out [tiles * (patches + 1), hidden]: class vector, then patches; position rows added.
void AssembleVisionTokens(const float* patches, const float* class_embedding,
                          const float* position_embedding, int64_t tiles, int64_t num_patches,
                          int64_t hidden, float* out, Stream& stream);

// sums [rows, 2] float32: squares of q and of k of this rank's heads; qkv [rows, 3 * width].
void QkSumSquares(const __nv_bfloat16* qkv, int64_t stride, int64_t rows, int64_t width,
                  float* sums, Stream& stream);
// q and k in place: x * rsqrt(sum / full_width + eps) * weight.
void ApplyQkNorm(__nv_bfloat16* qkv, int64_t stride, const float* sums, const float* q_weight,
                 const float* k_weight, int64_t rows, int64_t width, int64_t full_width, float eps,
                 Stream& stream);

// x [tiles * (grid^2 + 1), hidden] -> out [tiles * (grid / factor)^2, factor^2 * hidden] (pixel
// shuffle v2).
void PixelShuffle(const float* x, int64_t tiles, int64_t grid, int64_t factor, int64_t hidden,
                  float* out, Stream& stream);

}  // namespace skein::cuda
