// What the sampler remembers of one sequence: its parameters, its length and, where penalties need
// them, how often each token occurred. Only tokens of the rank's own vocabulary rows are counted.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "ops/backend.h"
#include "sampling/noise.h"

namespace skein {

// Temperatures below this are greedy: dividing by them would only overflow.
constexpr float kMinTemperature = 1e-5f;

// Throws INVALID_REQUEST naming the field that is out of range.
void ValidateSamplingParams(const SamplingParams& params, const SamplerShape& shape);

class SequenceState {
 public:
  struct Occurrences {
    bool in_prompt = false;
    int32_t generated = 0;
  };

  // token_ids: the prompt's num_prompt_tokens, then what was generated.
  void Begin(const SamplingParams& params, std::span<const int32_t> token_ids,
             int64_t num_prompt_tokens, const SamplerShape& shape);
  void End() { *this = SequenceState(); }
  void Append(int32_t token_id) {
    Advance();
    CountGenerated(token_id);
  }
  // The two halves of it, where a token is sampled before it is known.
  void Advance() {
    ++num_tokens_;
    ++num_generated_;
  }
  void CountGenerated(int32_t token_id) {
    if (has_penalties_) Count(token_id, false);
  }

  // Repetition penalty, presence and frequency penalty, logit bias, bans, in this order, on the
  // rank's row [vocab_valid_rows]; then clamps it (logit_kernels.h).
  void Adjust(float* logits) const;

  // Whether Adjust does more than clamp.
  bool adjusts_logits() const {
    return has_penalties_ || !params_.logit_bias_ids.empty() || bans_stop_tokens();
  }
  bool bans_stop_tokens() const {
    return num_generated_ < params_.min_tokens && !params_.stop_token_ids.empty();
  }

  bool is_active() const { return is_active_; }
  const SamplingParams& params() const { return params_; }
  bool is_greedy() const { return params_.temperature < kMinTemperature; }
  bool wants_logprobs() const { return params_.return_logprobs || params_.num_top_logprobs > 0; }
  NoiseKey noise_key() const {
    return {params_.seed, params_.choice_index, static_cast<uint64_t>(num_tokens_)};
  }

  // Index in the rank's row, or -1 for a token of another rank.
  int64_t LocalIndex(int32_t token_id) const {
    const int64_t index = token_id - vocab_start_;
    return index >= 0 && index < valid_rows_ ? index : -1;
  }
  // By index in the rank's row; empty where no penalty needs them.
  const std::unordered_map<int32_t, Occurrences>& occurrences() const { return occurrences_; }

 private:
  void Count(int32_t token_id, bool is_prompt);
  void Penalize(float* logits) const;

  bool is_active_ = false;
  SamplingParams params_;
  int64_t vocab_start_ = 0;
  int64_t valid_rows_ = 0;
  int64_t num_tokens_ = 0;
  int64_t num_generated_ = 0;
  bool has_penalties_ = false;
  // By index in the rank's row.
  std::unordered_map<int32_t, Occurrences> occurrences_;
};

}  // namespace skein
