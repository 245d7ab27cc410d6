// Random values made on the device; bit for bit those that the host makes of the same block.
#pragma once

#include <cuda_runtime.h>

#include "core/random_block.h"

namespace skein::cuda {

// Fills the block's place in `dest`, a matrix in device memory.
void FillRandomBlock(const RandomBlock& block, const Matrix& dest, cudaStream_t stream);

}  // namespace skein::cuda
