// Element-wise reduction of several equal vectors in rank order: the arithmetic that all CPU
// collectives share. Knows nothing of ranks beyond their order, and of no transport.
#pragma once

#include <cstdint>
#include <span>

#include "collective/communicator.h"
#include "core/dtype.h"

namespace skein {

// Throws INVALID_REQUEST for a type that collectives do not reduce (float32 and bfloat16 are
// reduced).
void CheckReducible(DType type);

// out[i] = inputs[0][i] op inputs[1][i] op ..., taken in that order in float32 and rounded once to
// `type`. Each of `inputs` [count]; `out` [count] may be one of them, but may not overlap one
// otherwise.
void ReduceInRankOrder(std::span<const void* const> inputs, int64_t count, DType type, ReduceOp op,
                       void* out);

}  // namespace skein
