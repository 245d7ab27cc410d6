// Random values made on the device; bit for bit those that the host makes of the same block.
#pragma once

#include "core/random_block.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Fills the block's place in `dest`, a matrix in device memory.
void FillRandomBlock(const RandomBlock& block, const Matrix& dest, Stream& stream);

}  // namespace skein::cuda
