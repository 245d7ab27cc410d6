// Which kernel takes a product: one table by the weights' format, the number of rows, that of
// outputs and the mode. What was measured to set its limits stands beside them.
#pragma once

#include <cstdint>
#include <limits>

#include "cuda/blas_lt.h"
#include "cuda/kernels/skinny_product.h"
#include "ops/backend.h"

namespace skein::cuda {

enum class ProductKernel : uint8_t {
  kFewRows,      // reads weights once, at the memory's speed
  kWide,         // Hopper's warpgroup products
  kExactWide,    // those of AWQ weights that leave the bits of the kernel for few rows
  kDequantised,  // cuBLASLt, of columns written out in bfloat16
  kLibrary,      // cuBLASLt
};

// What a product is chosen by.
struct ProductCase {
  WeightFormat format;
  bool deterministic;
  bool gelu;  // behind it
  int64_t rows, outputs;
};

struct ProductRule {
  WeightFormat format;
  // In deterministic mode the bits of a row must not depend on how many rows there are: one kernel
  // takes them all, or several that leave the same bits, as AWQ's do.
  bool deterministic;
  int64_t min_rows, max_rows;
  int64_t min_outputs, max_outputs;
  ProductKernel kernel;
  bool for_gelu = false;  // of products with GELU only
};

inline constexpr int64_t kAnyNumber = std::numeric_limits<int64_t>::max();

// Of those that apply to a product, the first whose kernel takes its operands.
//
// Dense, few rows: never for the head. Measured on an H200 (4.44 TB/s) with the 38 B model's
// weights, microseconds of our own product and of the fastest that cuBLASLt has; gate_up with
// SwiGLU, which our kernel includes:
//
//             [7168 x 5120]  [5120 x 5120]  gate_up       [5120 x 27648]  [151680 x 5120]
//    1 row    19.2, 22.4     14.1, 15.4     139.1, 136.1  68.6, 72.0      374, 355
//    8 rows   20.5, 23.0     15.4, 15.6     143.8, 137.8  71.1, 73.7      391, 360
//   16 rows   22.8, 20.6     17.6, 15.8     150.0, 139.7  77.3, 73.3      406, 362
//
// gate_up stays ours, since it saves a launch, and its blocks fetch weights while the kernel before
// them ends. At a quarter of the widths ours is ahead there too (35.6, 38.6). With 16 rows it has
// fallen behind everywhere, and the head is long enough for cuBLASLt to reach the memory's rate at
// any number.
//
// Dense, wide: weights of so many outputs that they fill the GPU with whole pieces. Measured on an
// H100 (3.10 TB/s), microseconds of cuBLASLt and of the wide product:
//
//                gate_up, SwiGLU  head      [5120 x 27648]  [7168 x 5120]  [5120 x 5120]
//      16 rows   197, 196         530, 515  102, 102        27, 31         21, 27
//      64        210, 199         551, 530  104, 111        29, 35         22, 32
//      96        214, 199                   109, 117        29, 39         23, 36
//     256        241, 243         609, 602  120, 129        33, 48         28, 41
//   1,024        848, 811                   409, 435        108, 109       78, 103
//   2,048        1747, 1769                 842, 877        195, 210       161, 198
//
// In a row with the layer's other products it is behind at 256 and 512 rows (455 to 464 instead of
// 443 to 446), and ahead at 1,024 (1,423 to 1,460 instead of 1,533 to 1,604).
//
// Gate and up of two ranks, 27,648 outputs, gain by it, too, from 9 rows on: with it and attention
// that rotates a token of 16 sequences takes 13.3 ms on two H100 instead of 13.6, of 64 14.8
// instead of 15.3.
//
// Dense with GELU, which only the wide kernel does itself: it saves a pass over the outputs. fc1 of
// the vision tower, [12800 x 3200], 5,125 rows on an H100: 646 us, and 697 by cuBLASLt and the
// pass, before it had kernels of its own.
//
// float8: bound by the weight's bytes, whichever kernel. Measured on an H100 (3.11 TB/s),
// microseconds of the kernel for few rows and of the wide one, each product alone:
//
//             gate_up, SwiGLU  [5120 x 27648]  [7168 x 5120]  [5120 x 5120]
//    1 row    103              49              15             11
//    8 rows   106, 102         51, 54          16, 19         12, 14
//
// In a layer gate and up gain by the kernel for few rows, too, which fetches weights while the
// kernel before it ends. An H200 (4.41 TB/s), microseconds of a layer with attention and norms,
// gate and up by the wide kernel, and by that for few rows, filled at once and 48 KB at a time:
//
//    1 row    145.6, 143.3, 140.1
//    4 rows   155.8, 152.8, 151.3
//    8 rows   159.4, 158.1, 157.4
//
// AWQ: up to 192 rows passes over the packed weights cost less than dequantising them once.
//
// AWQ, exact wide: its plans have half the columns a block, and so half as many partial sums, which
// is most of what a small weight takes. On H200s, microseconds of the wide kernel and of this one,
// each product alone, and the former in other calls:
//
//             [7168 x 5120]  [5120 x 5120]  [5120 x 27648]  gate_up, SwiGLU
//   17 rows   21.5, 15.1     19.6, 12.6     49.4, 40.3      83.0, 83.6
//   64        21.4, 17.5     20.5, 14.4     53.8, 49.0      92.8, 96.7
//   96        24.0, 19.6     21.2, 15.8     60.4, 56.1      108.0, 109.5
//  128        27.2, 23.1     23.3, 18.1     66.7, 68.0      124.5, 127.0
//  256        37.1, 36.4     28.9, 31.0
//
// In a row there is less to gain: in one call a layer of 64 rows took 192.9 by the wide kernel, and
// 189.3 by this one with gate_up, of 128 rows 251.5 and 255.9. Through the service a token of 64
// sequences takes 13.1 ms by this rule, and took 13.8 without.
inline constexpr ProductRule kProductRules[] = {
    // clang-format off
    {WeightFormat::kDense, false,   1, kSkinnyMaxRows,      1,    100'000, ProductKernel::kFewRows},
    {WeightFormat::kDense, false,   9,             96, 24'576, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kDense, false, 513,     kAnyNumber, 32'768, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kDense, false, 513,     kAnyNumber,  6'144, kAnyNumber, ProductKernel::kWide, true},
    {WeightFormat::kDense, false,   1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kLibrary},
    {WeightFormat::kDense, true,    1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kDense, true,    1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kLibrary},
    {WeightFormat::kFloat8, false, 1, kSkinnyMaxRows,      1,    100'000, ProductKernel::kFewRows},
    {WeightFormat::kFloat8, false, 1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kFloat8, false, 1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kFewRows},
    {WeightFormat::kFloat8, true,  1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kFloat8, true,  1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kFewRows},
    {WeightFormat::kAwq,   false,  17,             64,      1,      8'192, ProductKernel::kExactWide},
    {WeightFormat::kAwq,   false,  17,     kAnyNumber,      1, kAnyNumber, ProductKernel::kWide},
    {WeightFormat::kAwq,   false,   1,            192,      1, kAnyNumber, ProductKernel::kFewRows},
    {WeightFormat::kAwq,   false, 193,     kAnyNumber,      1, kAnyNumber, ProductKernel::kDequantised},
    {WeightFormat::kAwq,   true,   17,     kAnyNumber,      1, kAnyNumber, ProductKernel::kExactWide},
    {WeightFormat::kAwq,   true,    1,     kAnyNumber,      1, kAnyNumber, ProductKernel::kFewRows},
    // clang-format on
};

// The kernel of a product; takes(kernel): whether it takes the operands at hand.
template <typename Takes>
ProductKernel ChooseProduct(const ProductCase& product, const Takes& takes) {
  for (const ProductRule& rule : kProductRules) {
    if (rule.format == product.format && rule.deterministic == product.deterministic &&
        product.rows >= rule.min_rows && product.rows <= rule.max_rows &&
        product.outputs >= rule.min_outputs && product.outputs <= rule.max_outputs &&
        (!rule.for_gelu || product.gelu) && takes(rule.kernel)) {
      return rule.kernel;
    }
  }
  return ProductKernel::kLibrary;
}

// Up to here the plans of deterministic mode are the faster ones, too: a layer of float8 with 64
// rows takes 212 us by them and 226 by the others, with 256 rows 342 and 324.
inline constexpr int64_t kMostFixedPlanRows = 128;

// From here on it pays that a product adds to the residual: below, the norm behind it finds sums in
// the cache, and has the residual to read either way.
inline constexpr int64_t kFewestAddedRows = BlasLt::kMaxTimedRows + 1;

}  // namespace skein::cuda
