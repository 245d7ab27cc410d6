// What is asked of the logits and what their findings decide is the same on every back end; here
// they lie on the device.
#include "cuda/cuda_sampler.h"

#include "sampling/sampler.h"

namespace skein::cuda {

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, Stream& stream,
                                         const ChosenAhead& ahead) {
  return MakeSamplerOver(shape, MakeDeviceLogits(shape, stream, ahead));
}

}  // namespace skein::cuda
