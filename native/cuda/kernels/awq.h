// AWQ int4 products. Weights stay packed in the order of tensor core fragments: few rows are
// multiplied straight from it (awq_kernel.cuh), many through a dequantised bfloat16 copy of some
// columns at a time (awq_pack.cu).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/kernels/device_traits.h"
#include "cuda/kernels/product.h"
#include "cuda/packed_sizes.h"
#include "cuda/stream.h"

namespace skein::cuda {

// The packed form. Inputs are shifted by group_offset, so that groups begin at multiples of
// group_size; inputs outside the slice hold a value whose product is nothing because x is taken as
// zero there.
struct AwqWeights {
  // [out / 16, units, 2 chunks of 64 inputs, 32 lanes, 4 words]: word j of lane l holds columns l /
  // 4 and l / 4 + 8 at inputs 16 j + 2 (l % 4) + {0, 1, 8, 9} of the chunk; nibbles p and p + 4 are
  // the two halves of register p of an A fragment.
  uint32_t* words;
  // [out / 16, units, tables_per_unit, 16 columns]: the scale as float16 in the low half, 128 +
  // zero as bfloat16 in the high half; both exact.
  uint32_t* tables;
  // [kAwqMaxTickets], zero between products.
  uint32_t* tickets;
  int64_t in_features;
  int64_t out_features;  // without padding
  int64_t padded_out;    // multiple of 32, zero scales beyond out_features
  int64_t units;
  int64_t group_size;
  int64_t group_offset;
  int32_t tables_per_unit;  // 1 where groups are multiples of a unit, else 4
};

// raw: qweight int32 [in, out / 8], qzeros int32 [groups, out / 8], scales float16 or float32
// [groups, out], all on the device. Clears the tickets.
void PackAwq(const AwqWeights& weights, const int32_t* qweight, const int32_t* qzeros,
             const void* scales, bool scales_are_half, Stream& stream);

// How a product is cut: warps of a block, tiles of columns in a group, units in a warp's ring.
struct AwqTuning {
  int warps, members, stages;
  // Units that the L2 cache is asked for before the ring reads them; 0: none.
  int ahead;
  // A chunk's sums of a tile are made by one warp, unit after unit: their bits depend on the chunks
  // only.
  bool whole;
  int most_rows = 16;
};
// The last one takes up to kAwqMaxRows rows and any group size.
inline constexpr AwqTuning kAwqTunings[] = {
    {16, 1, 4, 0, false},   {8, 1, 7, 0, false},   {12, 2, 4, 0, false},
    {8, 2, 3, 0, false},    {8, 2, 5, 0, false},   {8, 2, 3, 8, false},
    {16, 1, 4, 8, false},   {10, 1, 5, 0, true},   {16, 1, 4, 0, true, 8},
    {16, 1, 3, 0, true},    {8, 2, 5, 0, true, 8}, {8, 2, 3, 0, true},
    {14, 2, 4, 0, true, 8}, {14, 2, 2, 0, true},   {8, 2, 3, 0, true, kAwqMaxRows}};
inline constexpr int kAwqNumTunings = sizeof(kAwqTunings) / sizeof(kAwqTunings[0]);
inline constexpr int kAwqWhole = kAwqNumTunings - 1;
// Rows up to which a whole tuning takes slices of several chunks.
inline constexpr int kAwqMostChunkRows = 16;

// How a product is spread over the GPU: tiles make groups, and a block of the grid (x, y) has a run
// of groups times a slice of the inputs.
struct AwqPlan {
  int tuning;
  int groups;
  int group_tiles, member_tiles;  // tiles from one group, and one member of it, to the next
  int units_per_slice, slices;    // grid y; the longest slice
  int blocks;                     // grid x
  // Of a whole tuning: a slice's units are summed in so many chunks, which are added in order; and
  // so many warps, all or 1, share the chunks of a group. Slices may be chunks themselves.
  int chunks, parts;
  // Blocks in clusters of two, each of which copies half of x for both. AwqProduct decides.
  bool paired;
};

// Bytes of a unit's words of one tile, of a table, and of a row of x.
inline constexpr int kAwqWordBytes = kAwqTileColumns * kAwqUnitInputs / 2;
inline constexpr int kAwqTableBytes = kAwqTileColumns * 4;
inline constexpr int kAwqXBytes = kAwqUnitInputs * 2;
// Of a unit in a ring, its words and then its tables: each begins at a whole line, as copies go.
__host__ __device__ constexpr int AwqRingUnitBytes(int tables) {
  constexpr int kLine = 128;
  return (kAwqWordBytes + tables * kAwqTableBytes + kLine - 1) / kLine * kLine;
}
// Of a row in a block's x, which lies in halves of a unit.
inline constexpr int kAwqXLine = kAwqXBytes / 2;

// From so many rows on pairs of blocks read x together, where they can: below, waiting for each
// other costs more than x.
inline constexpr int kAwqFewestPaired = 5;

// Whether tuning `tuning` exists for `rows` rows of these weights.
bool AwqTakes(const AwqWeights& weights, int tuning, int64_t rows, bool swiglu);
// The plan for at most kAwqMaxRows rows. tuning -1: the one that is thought fastest.
AwqPlan PlanAwq(const AwqWeights& weights, int64_t rows, bool swiglu, const DeviceTraits& device,
                int tuning = -1);
// A plan with which a row's bits are the same among any number of rows; and, where it HasExactWide,
// by the exact wide product (awq_wide.h).
AwqPlan PlanAwqDeterministic(const AwqWeights& weights, int64_t rows, bool swiglu,
                             const DeviceTraits& device);
// Whether products of many rows with this weight can be by the exact wide kernel.
bool AwqHasExactWide(const AwqWeights& weights, const DeviceTraits& device);
// How many chunks of units a column's inputs then have, in either kernel: by the weight's shape
// alone. Chunk i begins at unit units * i / chunks.
int AwqChunks(const AwqWeights& weights);
// Bytes of partial sums; 0 with one slice.
size_t AwqPartialBytes(const AwqWeights& weights, const AwqPlan& plan, int64_t rows);

// out [rows, out] = x [rows, in] W + bias. Overlaps with the launch before it (launch.cuh).
void AwqProduct(const AwqWeights& weights, const ProductOperands& operands, const AwqPlan& plan,
                Stream& stream);

// dense [columns, in] bfloat16 = columns first .. first + columns - 1 of W, each one row; first is
// a multiple of 16.
void AwqDequantize(const AwqWeights& weights, int64_t first, int64_t columns, __nv_bfloat16* dense,
                   Stream& stream);

// The plain loop that tests and benches compare with: float32 weights, one thread an output, from
// the packed form; out float32 [rows, out].
void AwqReference(const AwqWeights& weights, const __nv_bfloat16* x, int64_t x_stride, int64_t rows,
                  float* out, Stream& stream);

}  // namespace skein::cuda
