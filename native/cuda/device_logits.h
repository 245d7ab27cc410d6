// Logits in device memory: adjusted and judged there, their findings gathered there, so that a step
// takes one copy in, one out and one synchronisation.
#pragma once

#include <memory>

#include "cuda/step_inputs.h"
#include "cuda/stream.h"
#include "sampling/logits_source.h"

namespace skein::cuda {

// What steps that choose their tokens themselves need, of whoever runs them: how their requests get
// to the device, and a word a slot for its last token. Both outlive the source; none: no such
// steps.
struct ChosenAhead {
  StepInputs* inputs = nullptr;
  int32_t* last_tokens = nullptr;
};

// All its memory is taken here. Throws DEVICE_OUT_OF_MEMORY.
std::unique_ptr<LogitsSource> MakeDeviceLogits(const SamplerShape& shape, Stream& stream,
                                               const ChosenAhead& ahead = {});

}  // namespace skein::cuda
