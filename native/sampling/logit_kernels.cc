// The loops. Element-wise arithmetic is plain IEEE without fused multiply-add, so each clone gives
// the same bits.
#include "sampling/logit_kernels.h"

#include <algorithm>

#include "core/portable_math.h"
#include "core/vector_clones.h"

namespace skein {
namespace {

// Tokens that are compared with a bound at once before any is looked at by itself.
constexpr int64_t kScanBlock = 256;
// More than the noise's rounding can be off from growing with its word.
constexpr double kGumbelRounding = 1e-9;

SKEIN_VECTOR_CLONES void Clamp(float* logits, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    float x = logits[i];
    x = x > -FLT_MAX ? x : -FLT_MAX;
    logits[i] = x < FLT_MAX ? x : FLT_MAX;
  }
}

SKEIN_VECTOR_CLONES float Maximum(const float* logits, int64_t count) {
  float top = -FLT_MAX;
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < count; ++i) top = logits[i] > top ? logits[i] : top;
  return top;
}

SKEIN_VECTOR_CLONES uint32_t MaximumWord(const uint32_t* words, int64_t count) {
  uint32_t top = 0;
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < count; ++i) top = words[i] > top ? words[i] : top;
  return top;
}

SKEIN_VECTOR_CLONES uint64_t SumMass(const float* logits, int64_t count, float max,
                                     float inverse_temperature) {
  uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    sum += ToMass(ExpNonPositive((logits[i] - max) * inverse_temperature));
  }
  return sum;
}

SKEIN_VECTOR_CLONES void FillMasses(const Candidate* __restrict candidates, int64_t count,
                                    float max, float inverse_temperature, Mass* __restrict masses) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    masses[i] = ToMass(ExpNonPositive((candidates[i].logit - max) * inverse_temperature));
  }
}

}  // namespace

void ClampLogits(float* logits, int64_t count) { Clamp(logits, count); }

void BanUnmasked(float* logits, int64_t count, const uint32_t* mask) {
  for (int64_t start = 0; start < count; start += 32) {
    const uint32_t word = mask[start / 32];
    if (word == UINT32_MAX) continue;
    const int64_t end = std::min(count, start + 32);
    for (int64_t i = start; i < end; ++i) {
      if ((word >> (i - start) & 1) == 0) logits[i] = kBannedLogit;
    }
  }
}

Candidate BestCandidate(const float* logits, int64_t count, int32_t first_id) {
  if (count == 0) return {};
  const float top = Maximum(logits, count);
  const auto index = std::find(logits, logits + count, top) - logits;
  return {top, static_cast<int32_t>(first_id + index)};
}

std::vector<Candidate> BestCandidates(const float* logits, int64_t count, int32_t first_id,
                                      int64_t wanted) {
  std::vector<Candidate> best;
  wanted = std::min(wanted, count);
  if (wanted == 0) return best;
  best.reserve(static_cast<size_t>(wanted));
  // A heap with the worst of the best on top. Ids ascend, so a later token of equal logit is worse.
  for (int64_t start = 0; start < count; start += kScanBlock) {
    const int64_t end = std::min(count, start + kScanBlock);
    const bool full = static_cast<int64_t>(best.size()) == wanted;
    if (full && Maximum(logits + start, end - start) <= best.front().logit) continue;
    for (int64_t i = start; i < end; ++i) {
      const Candidate candidate{logits[i], static_cast<int32_t>(first_id + i)};
      if (static_cast<int64_t>(best.size()) < wanted) {
        best.push_back(candidate);
        std::push_heap(best.begin(), best.end(), Precedes);
      } else if (candidate.logit > best.front().logit) {
        std::pop_heap(best.begin(), best.end(), Precedes);
        best.back() = candidate;
        std::push_heap(best.begin(), best.end(), Precedes);
      }
    }
  }
  std::sort_heap(best.begin(), best.end(), Precedes);
  return best;
}

float RelativeProbability(float logit, float max, float inverse_temperature) {
  return ExpNonPositive((logit - max) * inverse_temperature);
}

Mass RelativeMass(float logit, float max, float inverse_temperature) {
  return ToMass(RelativeProbability(logit, max, inverse_temperature));
}

void RelativeMasses(std::span<const Candidate> candidates, float max, float inverse_temperature,
                    Mass* masses) {
  FillMasses(candidates.data(), static_cast<int64_t>(candidates.size()), max, inverse_temperature,
             masses);
}

Mass SumRelativeMass(const float* logits, int64_t count, float max, float inverse_temperature) {
  return SumMass(logits, count, max, inverse_temperature);
}

void TakeHigher(NoisyToken& best, const NoisyToken& b) {
  if (b.id == INT32_MAX) return;
  if (best.id == INT32_MAX || b.value > best.value || (b.value == best.value && b.id < best.id)) {
    best = b;
  }
}

NoisyToken HighestNoisy(const float* logits, int64_t count, int32_t first_id, const NoiseKey& key,
                        double inverse_temperature) {
  NoisyToken best;
  uint32_t words[kNoiseBlock];
  const int64_t end_id = first_id + count;
  for (int64_t block = first_id / kNoiseBlock * kNoiseBlock; block < end_id; block += kNoiseBlock) {
    const int64_t begin = std::max<int64_t>(block, first_id);
    const int64_t end = std::min(block + kNoiseBlock, end_id);
    // Most blocks hold no token that the highest noise could lift to the best one: first the
    // highest that there is, then the highest of the block. Logarithms are taken only of what is
    // left.
    const double highest = Maximum(logits + (begin - first_id), end - begin) * inverse_temperature;
    if (best.id != INT32_MAX && highest + kMaxGumbel < best.value) continue;
    RandomWordBlock(key, block, words);
    const double noise_bound =
        GumbelOfWord(MaximumWord(words + (begin - block), end - begin)) + kGumbelRounding;
    for (int64_t id = begin; id < end; ++id) {
      const float logit = logits[id - first_id];
      const double scaled = logit * inverse_temperature;
      if (best.id != INT32_MAX && scaled + noise_bound < best.value) continue;
      TakeHigher(best, {scaled + GumbelOfWord(words[id - block]), logit, static_cast<int32_t>(id)});
    }
  }
  return best;
}

NoisyToken HighestNoisy(std::span<const Candidate> candidates, const NoiseKey& key,
                        double inverse_temperature) {
  NoisyToken best;
  // The highest word so far bounds the noise of lower ones, so that few logarithms are taken.
  uint32_t top_word = 0;
  double top_noise = GumbelOfWord(0);
  uint32_t ids[kNoiseBlock], words[kNoiseBlock];
  for (size_t start = 0; start < candidates.size(); start += kNoiseBlock) {
    const auto block =
        candidates.subspan(start, std::min<size_t>(kNoiseBlock, candidates.size() - start));
    for (size_t i = 0; i < block.size(); ++i) ids[i] = static_cast<uint32_t>(block[i].id);
    RandomWords(key, {ids, block.size()}, words);
    for (size_t i = 0; i < block.size(); ++i) {
      const double scaled = block[i].logit * inverse_temperature;
      if (words[i] <= top_word && best.id != INT32_MAX &&
          scaled + (top_noise + kGumbelRounding) < best.value) {
        continue;
      }
      const double noise = GumbelOfWord(words[i]);
      if (words[i] > top_word) {
        top_word = words[i];
        top_noise = noise;
      }
      TakeHigher(best, {scaled + noise, block[i].logit, block[i].id});
    }
  }
  return best;
}

}  // namespace skein
