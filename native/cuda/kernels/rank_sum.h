// Sum of gathered vectors in rank order.
#pragma once

#include <cstdint>

#include "cuda/stream.h"

namespace skein::cuda {

// gathered [world_size, count]; out [count]; float32 sums, rounded once.
void SumInRankOrder(const void* gathered, int world_size, int64_t count, bool is_bfloat16,
                    void* out, Stream& stream);

}  // namespace skein::cuda
