// Products of many rows with dense weights on Hopper, bfloat16 or float8 (dense_wide_kernel.cuh).
#pragma once

#include "core/tensor.h"
#include "cuda/kernels/wide.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Whether there is a kernel for these operands on this device. Values of x and out may be anything;
// only addresses and strides count.
bool DenseWideTakes(const Matrix& weight, const ProductOperands& operands,
                    const DeviceTraits& device);
// tile -1: the one that is thought fastest; clusters 0: as many as are thought best.
WidePlan PlanDenseWide(const Matrix& weight, int64_t rows, const DeviceTraits& device,
                       int tile = -1, int clusters = 0);
// A plan with which a row's bits are the same among any number of rows, and with any tile (-1: the
// one that is thought fastest): how a piece's steps are divided into chunks depends on the weight
// alone, not even on the device. Products of every tile leave the same bits of the same operands.
// Takes at most WideMostPartialBytes.
WidePlan PlanDenseWideFixed(const Matrix& weight, int64_t rows, const DeviceTraits& device,
                            int tile = -1);

// out [rows, out] = x [rows, in] weight^T + bias; weight [out, in] bfloat16, or pairs of float8
// where operands have scales; operands.partial has WidePartialBytes. A row's bits depend on the
// plan, and so, but for fixed plans, on how many rows there are.
void DenseWideProduct(const Matrix& weight, const ProductOperands& operands, const WidePlan& plan,
                      Stream& stream);

}  // namespace skein::cuda
