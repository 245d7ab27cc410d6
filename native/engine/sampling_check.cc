#include "engine/sampling_check.h"

#include <cmath>

#include "core/error.h"

namespace skein {
namespace {

void Check(bool holds, const std::string& path, const char* rule) {
  if (!holds) throw Error("INVALID_REQUEST", path + rule);
}

void CheckIds(const std::string& path, const char* field, const std::vector<int32_t>& ids,
              int64_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    throw Error("INVALID_REQUEST",
                Format("%s.%s[%zu]: %d is not below the vocabulary's %lld", path.c_str(), field, i,
                       ids[i], static_cast<long long>(vocab_size)));
  }
}

}  // namespace

void CheckSamplingParams(const std::string& path, const SamplingParams& params, int64_t vocab_size,
                         int64_t max_top_logprobs) {
  Check(std::isfinite(params.temperature) && params.temperature >= 0, path,
        ".temperature: must be 0 or more");
  Check(params.top_k >= 0, path, ".topK: must be 0 or more");
  Check(params.top_p > 0 && params.top_p <= 1, path, ".topP: must be above 0 and at most 1");
  Check(params.min_p >= 0 && params.min_p <= 1, path, ".minP: must lie in 0..1");
  Check(std::isfinite(params.repetition_penalty) && params.repetition_penalty > 0, path,
        ".repetitionPenalty: must be above 0");
  Check(std::isfinite(params.presence_penalty), path, ".presencePenalty: must be finite");
  Check(std::isfinite(params.frequency_penalty), path, ".frequencyPenalty: must be finite");
  Check(params.min_tokens >= 0, path, ".minTokens: must be 0 or more");
  Check(params.num_top_logprobs >= 0 && params.num_top_logprobs <= max_top_logprobs, path,
        ".numTopLogprobs: is above maxTopLogprobs of the load plan");
  CheckIds(path, "stopTokenIds", params.stop_token_ids, vocab_size);
  CheckIds(path, "logitBiasIds", params.logit_bias_ids, vocab_size);
  Check(params.logit_bias_ids.size() == params.logit_bias_values.size(), path,
        ".logitBiasValues: needs one value per id of logitBiasIds");
  for (const float value : params.logit_bias_values) {
    Check(!std::isnan(value), path, ".logitBiasValues: NaN");
  }
}

}  // namespace skein
