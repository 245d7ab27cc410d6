// Sum of gathered vectors in rank order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace skein::cuda {

// gathered [world_size, count]; out [count]; float32 sums, rounded once.
void SumInRankOrder(const void* gathered, int world_size, int64_t count, bool is_bfloat16,
                    void* out, cudaStream_t stream);

}  // namespace skein::cuda
