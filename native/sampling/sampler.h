// The collective sampler of both back ends: every rank looks at its own vocabulary rows, exchanges
// a few words per row, and picks the token that every other rank picks. The bits of the choice
// depend on the logits, the sequence and its parameters alone, not on the world size, the batch or
// the order of its rows. How: docs/sampling.md.
#pragma once

#include <memory>

#include "ops/backend.h"
#include "sampling/logits_source.h"

namespace skein {

// No source is asked for more candidates of a rank than these, or than the top log-probabilities
// wanted: a larger top-k takes the row whole.
constexpr int64_t kMaxTopKCandidates = 1024;

// Over logits that lie where the source says; overwrites those that it samples from.
std::unique_ptr<Sampler> MakeSamplerOver(const SamplerShape& shape,
                                         std::unique_ptr<LogitsSource> source);

}  // namespace skein
