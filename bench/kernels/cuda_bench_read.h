// Helper kernels of the bench: what the memory gives at most.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace skein::cuda {

// Reads `bytes` (a multiple of 16) once; `sink` (4 bytes) is written only if a sum is a value that
// random data does not have.
void ReadAll(const void* data, int64_t bytes, uint32_t* sink, Stream& stream);

// differences [2]: += sum (a - b)^2 and sum b^2.
void SumSquaredDifferences(const void* a, const void* b, int64_t count, bool are_float,
                           double* differences, Stream& stream);

}  // namespace skein::cuda
