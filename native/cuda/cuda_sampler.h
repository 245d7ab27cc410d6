// Sampling for the CUDA back end: the same choice as the CPU's, so that a token never depends on
// the back end's way to choose.
#pragma once

#include <memory>

#include "cuda/device_logits.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, Stream& stream,
                                         const ChosenAhead& ahead = {});

}  // namespace skein::cuda
