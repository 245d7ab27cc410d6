#include "cpu/cpu_sampler.h"

#include "cpu/host_logits.h"
#include "sampling/sampler.h"

namespace skein {

std::unique_ptr<Sampler> MakeCpuSampler(const SamplerShape& shape, ThreadPool& pool) {
  return MakeSamplerOver(shape, MakeHostLogits(shape, pool));
}

}  // namespace skein
