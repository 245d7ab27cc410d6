// Logits in device memory: adjusted and judged there, their findings gathered there, so that a step
// takes one copy in, one out and one synchronisation.
#pragma once

#include <memory>

#include "cuda/stream.h"
#include "sampling/logits_source.h"

namespace skein::cuda {

// All its memory is taken here. Throws DEVICE_OUT_OF_MEMORY.
std::unique_ptr<LogitsSource> MakeDeviceLogits(const SamplerShape& shape, Stream& stream);

}  // namespace skein::cuda
