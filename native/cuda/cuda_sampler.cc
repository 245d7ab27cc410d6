// What is asked of the logits and what their findings decide is the same on every back end; here
// they lie on the device.
#include "cuda/cuda_sampler.h"

#include "cuda/device_logits.h"
#include "sampling/sampler.h"

namespace skein::cuda {

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, Stream& stream) {
  return MakeSamplerOver(shape, MakeDeviceLogits(shape, stream));
}

}  // namespace skein::cuda
