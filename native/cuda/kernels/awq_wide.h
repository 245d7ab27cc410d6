// AWQ int4 products of many rows on Hopper, straight from the packed weights: from a few rows,
// where reading the weights takes longest, to prompts of thousands (awq_wide_kernel.cuh).
#pragma once

#include "cuda/kernels/awq.h"
#include "cuda/kernels/wide.h"
#include "cuda/stream.h"

namespace skein::cuda {

// A step is half a unit.
static_assert(kWideStepInputs == kAwqUnitInputs / 2);

// Whether there is a kernel for these operands on this device. x's and out's memory may be
// anything; only addresses and strides count.
bool AwqWideTakes(const AwqWeights& weights, const ProductOperands& operands,
                  const DeviceTraits& device);
// tile -1: the one that is thought fastest; clusters 0: as many as are thought best.
WidePlan PlanAwqWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device,
                     int tile = -1, int clusters = 0);

// out [rows, out] = x [rows, in] W + bias, as AwqProduct; operands.partial has WidePartialBytes.
// Weights times scales are rounded to bfloat16, like AwqDequantize's. A row's bits depend on the
// plan, and so on how many rows there are.
void AwqWideProduct(const AwqWeights& weights, const ProductOperands& operands,
                    const WidePlan& plan, Stream& stream);

// Exact products, wherever AwqWideTakes the operands: weights are q - z, and units' sums are scaled
// (awq_exact_wide_kernel.cuh). With this plan a row's bits are the same among any number of rows,
// by any tile (-1: the one that is thought fastest), and by PlanAwqDeterministic's. Takes at most
// WideMostPartialBytes.
WidePlan PlanAwqExactWide(const AwqWeights& weights, int64_t rows, const DeviceTraits& device,
                          int tile = -1);
void AwqExactWideProduct(const AwqWeights& weights, const ProductOperands& operands,
                         const WidePlan& plan, Stream& stream);

}  // namespace skein::cuda
