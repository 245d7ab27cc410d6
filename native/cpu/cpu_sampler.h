// Sampling for the CPU back end.
#pragma once

#include <memory>

#include "core/thread_pool.h"
#include "ops/backend.h"

namespace skein {

// Overwrites the logits that it samples from. `pool` shares the rows among its threads and outlives
// the sampler.
std::unique_ptr<Sampler> MakeCpuSampler(const SamplerShape& shape, ThreadPool& pool);

}  // namespace skein
