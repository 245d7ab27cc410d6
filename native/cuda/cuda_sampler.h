// Sampling on the device: penalties, statistics, the choice, all ranks alike.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "ops/backend.h"

namespace skein::cuda {

class CudaSampler : public Sampler {
 public:
  // Device array [max_sequences]: the token sampled last for each slot.
  virtual const int32_t* last_tokens() const = 0;
};

std::unique_ptr<CudaSampler> MakeCudaSampler(const SamplerShape& shape, cudaStream_t stream);

}  // namespace skein::cuda
