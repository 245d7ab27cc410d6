// The vector kernels of one instruction class, behind function pointers: what the ops of the CPU
// back end are made of. Kernels work on one panel, row or tile; they start no threads, allocate
// nothing and know no model.
//
// Every kernel computes an output element from its own inputs in one fixed order, whatever the
// number of rows given to it.
#pragma once

#include <cstdint>

#include "cpu/cpu_features.h"

namespace skein::cpu {

// A run of input features whose products are summed in one chain before they join the total of an
// output element. Plain weights: kDenseBlock. AWQ: a quantisation group, or a part of one.
struct InputBlock {
  int64_t source_start = 0;  // in x as the caller has it
  int64_t source_length = 0;
  int64_t start = 0;   // in packed x and in the panel; padded with zeros to `length`
  int64_t length = 0;  // even; a multiple of kAwqUnit for AWQ
  int64_t group = 0;   // AWQ: row of scales and zeros
};

// Chains of this length keep float32 sums accurate at any width; they fit the first-level cache.
constexpr int64_t kDenseBlock = 512;
constexpr int64_t kAwqBlockMax = 128;
// Input features per 32-bit word of a repacked AWQ panel.
constexpr int64_t kAwqUnit = 8;
// KV positions that attention takes at a time, counted from position 0 of the sequence.
constexpr int64_t kAttentionTile = 64;
constexpr int64_t kMaxHeadDim = 256;
// Bound of KernelTable::tile_rows.
constexpr int64_t kMaxTileRows = 16;

enum class WeightKind : uint8_t { kFloat32, kBFloat16, kAwq };

// out [rows, panel width] = x * panel. Weight panels hold `panel width` output features:
//   float32:  [k][width]            bfloat16: [k / 2][width][2]
//   AWQ:      [k / 8][width] 32-bit words; bits 16 j + 4 i .. + 3 of a word hold row 8 u + 2 i + j
// Packed x is cut in row tiles: tile t of `tile_rows` rows lies at t * tile_rows * padded_in
// elements as [k][rows of the tile] (as [k / 2][rows of the tile][2] where the class multiplies
// bfloat16 pairs).
struct PanelProduct {
  const void* x = nullptr;
  int64_t rows = 0;
  int64_t tile_rows = 0;
  int64_t padded_in = 0;
  const InputBlock* blocks = nullptr;
  int64_t num_blocks = 0;
  // out already holds the sums of the blocks before these.
  bool accumulate = false;
  const void* panel = nullptr;
  // AWQ: [groups, width], scales in float16 or float32.
  const uint8_t* zeros = nullptr;
  const void* scales = nullptr;
  bool scales_are_half = false;
  float* out = nullptr;
  int64_t out_stride = 0;
};

// One tile of rows of x, as the caller has it, to the packed form. x is rounded to bfloat16 for a
// bfloat16 product.
struct PackInput {
  const float* x = nullptr;
  int64_t x_stride = 0;
  int64_t rows = 0;
  const InputBlock* blocks = nullptr;
  int64_t num_blocks = 0;
  bool round_to_bf16 = false;
  void* out = nullptr;
};

// Online softmax over one tile of kAttentionTile KV positions, for `rows` pairs of query row and
// head. Panels as for a float32 product: keys [tile / width][d][width], values [ceil(d /
// width)][tile][width]. Positions and columns beyond the valid ones hold zeros.
struct AttentionTile {
  const float* q = nullptr;  // packed in row tiles of tile_rows, [d][rows of the tile]
  int64_t rows = 0;
  int64_t tile_rows = 0;
  int64_t head_dim = 0;
  const float* keys = nullptr;
  const float* values = nullptr;
  const int32_t* valid =
      nullptr;  // [rows] positions of this tile that the row may see: 0 .. kAttentionTile
  float scale = 0;
  float* scores = nullptr;   // [rows, kAttentionTile] scratch
  float* row_max = nullptr;  // [rows] running maximum, starts at -infinity
  float* row_sum = nullptr;  // [rows] running sum, starts at 0
  float* out = nullptr;      // [rows, out_stride] unnormalised, starts at 0
  int64_t out_stride = 0;    // head_dim rounded up to the panel width
};

// e4m3 codes [rows, stride], none of them a NaN.
struct Float8Rows {
  const uint8_t* codes = nullptr;
  int64_t stride = 0;
  const float* row_scales = nullptr;
  const float* column_scales = nullptr;
};

struct KernelTable {
  InstructionClass instruction_class;
  int lanes;
  int panel_width;  // output features of a weight panel: 2 * lanes
  int tile_rows;    // rows that a product takes at a time, at most
  bool bf16_pairs;  // bfloat16 products take packed x in bfloat16, otherwise rounded and in float32

  void (*product_float32)(const PanelProduct& product);
  void (*product_bf16)(const PanelProduct& product);
  void (*product_awq_float32)(const PanelProduct& product);
  void (*product_awq_bf16)(const PanelProduct& product);
  void (*pack_input)(const PackInput& input);
  void (*attention_tile)(const AttentionTile& tile);

  // Rows of n elements.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                     float* out);
  // residual += scale * (x + bias); scale and bias may be null.
  void (*add_residual)(const float* x, const float* bias, const float* scale, int64_t n,
                       float* residual);
  void (*add)(const float* a, const float* b, int64_t n, float* out);
  // x += bias (may be null), then GELU by erf if asked.
  void (*bias_gelu)(const float* bias, bool gelu, int64_t n, float* x);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* out);
  float (*sum_squares)(const float* x, int64_t n);
  // x *= factor * weight.
  void (*scale_by)(float factor, const float* weight, int64_t n, float* x);
  void (*multiply)(const float* x, float factor, int64_t n, float* out);
  // Rotates the pairs (i, i + half).
  void (*rotate)(const float* cosine, const float* sine, int64_t half, float* x);
  void (*bf16_to_float)(const uint16_t* x, int64_t n, float* out);
  void (*float_to_bf16)(const float* x, int64_t n, uint16_t* out);
  // out [rows, out_stride] = x [rows, x_stride], n columns.
  void (*copy_float)(const float* x, int64_t x_stride, int64_t rows, int64_t n, float* out,
                     int64_t out_stride);
  void (*copy_bf16)(const uint16_t* x, int64_t x_stride, int64_t rows, int64_t n, float* out,
                    int64_t out_stride);
  // From float8 codes; values are theirs times the scale of the row, or of the column where
  // row_scales is null.
  void (*copy_float8)(const Float8Rows& x, int64_t rows, int64_t n, float* out, int64_t out_stride);
};

// The table of a class; throws Error(INTERNAL) for one that is not built for this kind of
// processor.
const KernelTable& GetKernels(InstructionClass instruction_class);

const KernelTable& PortableKernels();
#if defined(__x86_64__)
const KernelTable& Avx2Kernels();
const KernelTable& Avx512Kernels();
const KernelTable& Avx512Bf16Kernels();
#endif

}  // namespace skein::cpu
