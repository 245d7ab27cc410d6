// Sampling for the CUDA back end: the same choice as the CPU's, so that a token never depends on
// the back end's way to choose.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "ops/backend.h"

namespace skein::cuda {

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, cudaStream_t stream);

}  // namespace skein::cuda
