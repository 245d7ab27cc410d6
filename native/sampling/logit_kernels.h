// Passes over one row of logits: maxima, best candidates, masses, and the cut of the nucleus. Pure
// functions of their arguments; no ranks, no state. All results are independent of how a vocabulary
// is cut into parts: maxima and candidates are exact, and masses are integers, whose sums have no
// order.
#pragma once

#include <cfloat>
#include <cstdint>
#include <span>
#include <vector>

#include "sampling/noise.h"

namespace skein {

// What a banned token's logit is set to; all logits are kept within -kBannedLogit's range, so that
// differences make no NaN.
constexpr float kBannedLogit = -FLT_MAX;

// A token and its logit.
struct Candidate {
  float logit = kBannedLogit;
  int32_t id = INT32_MAX;
};

// The order of tokens: the higher logit first, of equals the lower id.
inline constexpr auto Precedes = [](const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

// Probability masses relative to the most likely token, in units of 2^-42: 4 million of them fit 64
// bits.
using Mass = uint64_t;
constexpr double kMassUnit = 0x1p-42;
constexpr int64_t kMaxVocabSize = int64_t{1} << 21;

// Puts every logit within [-FLT_MAX, FLT_MAX]; NaN counts as banned.
void ClampLogits(float* logits, int64_t count);

// Bans the tokens whose bits are 0: bit i % 32 of word i / 32.
void BanUnmasked(float* logits, int64_t count, const uint32_t* mask);

// The first of the best; {kBannedLogit, INT32_MAX} when count is 0. Token ids begin at first_id.
Candidate BestCandidate(const float* logits, int64_t count, int32_t first_id);

// The best `wanted` (or all `count`) in order.
std::vector<Candidate> BestCandidates(const float* logits, int64_t count, int32_t first_id,
                                      int64_t wanted);

// exp((logit - max) * inverse_temperature) as the filters see it: within [0, 1], 1 for the maximum.
float RelativeProbability(float logit, float max, float inverse_temperature);
Mass RelativeMass(float logit, float max, float inverse_temperature);
// masses [candidates.size()].
void RelativeMasses(std::span<const Candidate> candidates, float max, float inverse_temperature,
                    Mass* masses);
Mass SumRelativeMass(const float* logits, int64_t count, float max, float inverse_temperature);

// A token under noise.
struct NoisyToken {
  double value = 0;
  float logit = kBannedLogit;
  int32_t id = INT32_MAX;  // none
};
// Takes `b` if it is higher, or as high with a lower id.
void TakeHigher(NoisyToken& best, const NoisyToken& b);

// The highest logit * inverse_temperature + noise.
NoisyToken HighestNoisy(const float* logits, int64_t count, int32_t first_id, const NoiseKey& key,
                        double inverse_temperature);
NoisyToken HighestNoisy(std::span<const Candidate> candidates, const NoiseKey& key,
                        double inverse_temperature);

}  // namespace skein
