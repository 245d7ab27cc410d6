// Bounds of a sequence's sampling parameters.
#pragma once

#include <string>

#include "ops/backend.h"

namespace skein {

// Throws INVALID_REQUEST; `path` names the object, e.g. "newSequences[0].sampling".
void CheckSamplingParams(const std::string& path, const SamplingParams& params, int64_t vocab_size,
                         int64_t max_top_logprobs);

}  // namespace skein
