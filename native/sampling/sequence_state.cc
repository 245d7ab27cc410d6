// Counting tokens and adjusting logits by them.
#include "sampling/sequence_state.h"

#include <cmath>

#include "core/error.h"
#include "sampling/logit_kernels.h"

namespace skein {
namespace {

void Require(bool condition, const char* field, double value, const char* rule) {
  if (condition) return;
  throw Error("INVALID_REQUEST", Format("sampling parameter %s is %g: %s", field, value, rule));
}

void RequireTokenIds(const std::vector<int32_t>& ids, const char* field, int64_t vocab_size) {
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    throw Error("INVALID_REQUEST",
                Format("sampling parameter %s holds token id %d: ids are 0 to %lld", field, id,
                       static_cast<long long>(vocab_size - 1)));
  }
}

}  // namespace

void ValidateSamplingParams(const SamplingParams& params, const SamplerShape& shape) {
  Require(std::isfinite(params.temperature) && params.temperature >= 0, "temperature",
          params.temperature, "must be finite and not negative");
  Require(params.top_k >= 0, "top_k", params.top_k, "must not be negative");
  Require(params.top_p >= 0 && params.top_p <= 1, "top_p", params.top_p, "must be within 0 and 1");
  Require(params.min_p >= 0 && params.min_p <= 1, "min_p", params.min_p, "must be within 0 and 1");
  Require(std::isfinite(params.repetition_penalty) && params.repetition_penalty > 0,
          "repetition_penalty", params.repetition_penalty, "must be finite and positive");
  Require(std::isfinite(params.presence_penalty), "presence_penalty", params.presence_penalty,
          "must be finite");
  Require(std::isfinite(params.frequency_penalty), "frequency_penalty", params.frequency_penalty,
          "must be finite");
  Require(params.min_tokens >= 0, "min_tokens", params.min_tokens, "must not be negative");
  Require(params.num_top_logprobs >= 0 && params.num_top_logprobs <= shape.max_top_logprobs,
          "num_top_logprobs", params.num_top_logprobs,
          Format("must be 0 to %lld", static_cast<long long>(shape.max_top_logprobs)).c_str());
  Require(params.logit_bias_ids.size() == params.logit_bias_values.size(), "logit_bias_values",
          static_cast<double>(params.logit_bias_values.size()), "must be as many as the ids");
  for (const float value : params.logit_bias_values) {
    Require(!std::isnan(value), "logit_bias_values", value, "must be a number");
  }
  RequireTokenIds(params.logit_bias_ids, "logit_bias_ids", shape.vocab_size);
  RequireTokenIds(params.stop_token_ids, "stop_token_ids", shape.vocab_size);
}

void SequenceState::Begin(const SamplingParams& params, std::span<const int32_t> token_ids,
                          int64_t num_prompt_tokens, const SamplerShape& shape) {
  *this = SequenceState();
  is_active_ = true;
  params_ = params;
  vocab_start_ = shape.vocab_start;
  valid_rows_ = shape.vocab_valid_rows;
  num_tokens_ = static_cast<int64_t>(token_ids.size());
  num_generated_ = num_tokens_ - num_prompt_tokens;
  has_penalties_ = params.repetition_penalty != 1 || params.presence_penalty != 0 ||
                   params.frequency_penalty != 0;
  if (!has_penalties_) return;
  for (int64_t i = 0; i < num_tokens_; ++i) {
    Count(token_ids[static_cast<size_t>(i)], i < num_prompt_tokens);
  }
}

void SequenceState::Count(int32_t token_id, bool is_prompt) {
  const int64_t index = LocalIndex(token_id);
  if (index < 0) return;
  Occurrences& occurrences = occurrences_[static_cast<int32_t>(index)];
  if (is_prompt) {
    occurrences.in_prompt = true;
  } else {
    ++occurrences.generated;
  }
}

void SequenceState::Penalize(float* logits) const {
  for (const auto& [index, occurrences] : occurrences_) {
    float& logit = logits[index];
    if (params_.repetition_penalty != 1) {
      logit = logit < 0 ? logit * params_.repetition_penalty : logit / params_.repetition_penalty;
    }
    if (occurrences.generated > 0) {
      logit -= params_.presence_penalty;
      logit -= params_.frequency_penalty * static_cast<float>(occurrences.generated);
    }
  }
}

void SequenceState::Adjust(float* logits) const {
  Penalize(logits);
  for (size_t i = 0; i < params_.logit_bias_ids.size(); ++i) {
    const int64_t index = LocalIndex(params_.logit_bias_ids[i]);
    if (index >= 0) logits[index] += params_.logit_bias_values[i];
  }
  if (num_generated_ < params_.min_tokens) {
    for (const int32_t id : params_.stop_token_ids) {
      const int64_t index = LocalIndex(id);
      if (index >= 0) logits[index] = kBannedLogit;
    }
  }
  ClampLogits(logits, valid_rows_);
}

}  // namespace skein
