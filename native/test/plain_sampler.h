// The sampler's definition in plain loops: double precision, the whole row, a full sort. Slow, and
// meant to be read; what the real one is compared with. Shares only the noise with it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "ops/backend.h"

namespace skein::test {

struct Sequence {
  SamplingParams params;
  std::vector<int32_t> token_ids;
  int64_t num_prompt_tokens = 0;
  // By id: whether it may be the next token; empty: every one may.
  std::vector<bool> allowed;
};

struct PlainResult {
  int32_t token_id = 0;
  double logprob = 0;
  std::vector<std::pair<double, int32_t>> top;  // (log-probability, id), best first
  // How near the choice was to another one; below 1e-5 it may go either way.
  double margin = 1;
};

// Ids that pass the filters, from all ids in order of their adjusted logits `x`.
std::vector<int32_t> FilterPlainly(const std::vector<double>& x, std::vector<int32_t> ids,
                                   const SamplingParams& params, double* margin);
PlainResult SamplePlainly(const Sequence& sequence, const std::vector<float>& logits);

}  // namespace skein::test
