// The sampler's pure parts: generator, noise, masses, candidates, cuts of the filters; each against
// a definition written anew here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "sampling/filter.h"
#include "sampling/logit_kernels.h"

namespace skein::test {
namespace {

std::vector<float> RandomLogits(int64_t count, uint64_t seed, float scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(static_cast<size_t>(count));
  for (float& x : logits) x = normal(random);
  return logits;
}

// Known answers of the generator's authors (Random123, kat_vectors).
TEST(SamplingNoise, PhiloxGivesThePublishedAnswers) {
  uint32_t zero[4] = {0, 0, 0, 0};
  Philox4x32(0, zero);
  const uint32_t zero_wanted[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  uint32_t ones[4] = {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
  Philox4x32(0xffffffffffffffff, ones);
  const uint32_t ones_wanted[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
  Philox4x32(0x299f31d0a4093822, pi);
  const uint32_t pi_wanted[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(zero[i], zero_wanted[i]);
    EXPECT_EQ(ones[i], ones_wanted[i]);
    EXPECT_EQ(pi[i], pi_wanted[i]);
  }
}

TEST(SamplingNoise, NoiseIsTheGumbelTransformOfTheGeneratorAndTheSameInBlocksAndAlone) {
  const NoiseKey key{0x0123456789abcdef, 3, (uint64_t{7} << 32) | 99};
  uint32_t block[kNoiseBlock];
  double worst = 0;
  for (const int64_t first : {int64_t{0}, int64_t{151552}}) {
    RandomWordBlock(key, first, block);
    for (int64_t i = 0; i < kNoiseBlock; ++i) {
      const int64_t token = first + i;
      EXPECT_EQ(GumbelOfWord(block[i]), GumbelNoise(key, token));
      uint32_t counter[4] = {static_cast<uint32_t>(token / 4), 3, 99, 7};
      Philox4x32(key.seed, counter);
      const double u = (counter[token % 4] + 0.5) / 4294967296.0;
      const double wanted = -std::log(-std::log(u));
      worst = std::max(worst,
                       std::abs(GumbelOfWord(block[i]) - wanted) / std::max(1.0, std::abs(wanted)));
    }
  }
  EXPECT_LT(worst, 1e-14);
}

TEST(SamplingNoise, NoiseGrowsWithItsWordWithinItsBounds) {
  EXPECT_LT(GumbelOfWord(UINT32_MAX), kMaxGumbel);
  EXPECT_TRUE(std::isfinite(GumbelOfWord(0)));
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const auto word = static_cast<uint32_t>(random());
    ASSERT_GE(GumbelOfWord(word) + 1e-12, GumbelOfWord(word - std::min(word, 3u)));
  }
}

TEST(SamplingNoise, EachPartOfTheKeyChangesTheNoise) {
  const NoiseKey key{1, 2, 3};
  const double noise = GumbelNoise(key, 4);
  EXPECT_NE(noise, GumbelNoise({2, 2, 3}, 4));
  EXPECT_NE(noise, GumbelNoise({1 | (uint64_t{1} << 32), 2, 3}, 4));
  EXPECT_NE(noise, GumbelNoise({1, 3, 3}, 4));
  EXPECT_NE(noise, GumbelNoise({1, 2, 4}, 4));
  EXPECT_NE(noise, GumbelNoise({1, 2, 3 | (uint64_t{1} << 32)}, 4));
  EXPECT_NE(noise, GumbelNoise(key, 5));
}

TEST(SamplingKernels, ClampTakesNanForBannedAndKeepsTheRestFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> logits(67, 1.5f);
  logits[3] = std::nanf("");
  logits[65] = std::nanf("");
  logits[4] = infinity;
  logits[66] = -infinity;
  ClampLogits(logits.data(), 67);
  EXPECT_EQ(logits[3], kBannedLogit);
  EXPECT_EQ(logits[65], kBannedLogit);
  EXPECT_EQ(logits[4], FLT_MAX);
  EXPECT_EQ(logits[66], kBannedLogit);
  EXPECT_EQ(logits[0], 1.5f);
}

TEST(SamplingKernels, RelativeProbabilityIsTheExponential) {
  for (float d = 0; d > -86; d -= 0.0137f) {
    const double wanted = std::exp(static_cast<double>(d));
    EXPECT_NEAR(RelativeProbability(d, 0, 1) / wanted, 1, 3e-7) << d;
  }
  EXPECT_EQ(RelativeProbability(5, 5, 1), 1.0f);
  EXPECT_EQ(RelativeProbability(kBannedLogit, FLT_MAX, 1), 0.0f);
  EXPECT_EQ(RelativeMass(5, 5, 1), Mass{1} << 42);
}

TEST(SamplingKernels, MassOfARowDoesNotDependOnHowItIsCut) {
  const auto logits = RandomLogits(10007, 5, 4);
  const float max = *std::max_element(logits.begin(), logits.end());
  const Mass whole = SumRelativeMass(logits.data(), 10007, max, 0.7f);
  for (const int64_t cut : {1, 31, 5000, 10006}) {
    EXPECT_EQ(whole, SumRelativeMass(logits.data(), cut, max, 0.7f) +
                         SumRelativeMass(logits.data() + cut, 10007 - cut, max, 0.7f));
  }
  double wanted = 0;
  for (const float x : logits) wanted += std::exp((static_cast<double>(x) - max) * 0.7f);
  EXPECT_NEAR(static_cast<double>(whole) * kMassUnit / wanted, 1, 1e-6);
}

TEST(SamplingKernels, BestCandidatesAreTheBeginningOfTheSortedRow) {
  for (const int64_t count : {1, 2, 255, 256, 257, 5000}) {
    auto logits = RandomLogits(count, static_cast<uint64_t>(count), 2);
    // Many equal values: the order of ids must decide.
    for (float& x : logits) x = std::round(x * 4);
    std::vector<Candidate> sorted;
    for (int64_t i = 0; i < count; ++i) {
      sorted.push_back({logits[static_cast<size_t>(i)], static_cast<int32_t>(100 + i)});
    }
    std::sort(sorted.begin(), sorted.end(), Precedes);
    EXPECT_EQ(BestCandidate(logits.data(), count, 100).id, sorted[0].id);
    for (const int64_t wanted : {0, 1, 7, 256, 6000}) {
      const auto best = BestCandidates(logits.data(), count, 100, wanted);
      ASSERT_EQ(static_cast<int64_t>(best.size()), std::min(wanted, count));
      for (size_t i = 0; i < best.size(); ++i) EXPECT_EQ(best[i].id, sorted[i].id);
    }
  }
}

TEST(SamplingKernels, HighestNoisySkipsNothingThatCouldWin) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const int64_t count = 700 + static_cast<int64_t>(seed);
    const int32_t first = static_cast<int32_t>(seed * 37);
    const auto logits = RandomLogits(count, seed, 12);
    const NoiseKey key{seed, 0, seed};
    const double inverse = 1 / 0.8;
    NoisyToken wanted;
    std::vector<Candidate> candidates;
    for (int64_t i = 0; i < count; ++i) {
      const float x = logits[static_cast<size_t>(i)];
      const auto id = static_cast<int32_t>(first + i);
      TakeHigher(wanted, {x * inverse + GumbelNoise(key, id), x, id});
      candidates.push_back({x, id});
    }
    EXPECT_EQ(HighestNoisy(logits.data(), count, first, key, inverse).id, wanted.id);
    EXPECT_EQ(HighestNoisy(candidates, key, inverse).id, wanted.id);
  }
}

// The filters' definition, in double precision and a full sort. `margin`: how near a cut was to
// falling elsewhere.
int64_t CountKeptPlainly(const std::vector<Candidate>& sorted, const TokenFilter& f,
                         double* margin) {
  auto limit = static_cast<int64_t>(sorted.size());
  if (f.top_k > 0) limit = std::min(limit, f.top_k);
  const auto probability = [&](int64_t i) {
    return std::exp((static_cast<double>(sorted[static_cast<size_t>(i)].logit) - f.max_logit) *
                    f.inverse_temperature);
  };
  double total = 0;
  for (int64_t i = 0; i < limit; ++i) total += probability(i);
  double before = 0;
  for (int64_t i = 0; i < limit; ++i) {
    if (i > 0 && f.top_p < 1) {
      *margin = std::min(*margin, std::abs(before / total - f.top_p));
      if (before >= f.top_p * total) return i;
    }
    if (i > 0 && f.min_p > 0) {
      *margin = std::min(*margin, std::abs(probability(i) - f.min_p));
      if (probability(i) < f.min_p) return i;
    }
    before += probability(i);
  }
  return limit;
}

TEST(SamplingFilter, BothWaysToFindTheCutAgreeWithTheDefinition) {
  std::mt19937 random(11);
  int compared = 0;
  for (int round = 0; round < 400; ++round) {
    const int64_t count = 1 + random() % 3000;
    const auto logits = RandomLogits(count, static_cast<uint64_t>(round), 0.2f + random() % 5);
    std::vector<Candidate> sorted;
    for (int64_t i = 0; i < count; ++i) {
      sorted.push_back({logits[static_cast<size_t>(i)], static_cast<int32_t>(i)});
    }
    auto shuffled = sorted;
    std::sort(sorted.begin(), sorted.end(), Precedes);
    TokenFilter f;
    if (random() % 2) f.top_k = 1 + random() % 500;
    if (random() % 2) f.top_p = static_cast<float>(random() % 1000) / 1000;
    if (random() % 2) f.min_p = static_cast<float>(random() % 100) / 200;
    f.inverse_temperature = 0.5f + static_cast<float>(random() % 20) / 10;
    f.max_logit = sorted[0].logit;
    f.total_mass = SumRelativeMass(logits.data(), count, f.max_logit, f.inverse_temperature);
    double margin = 1;
    const int64_t wanted = CountKeptPlainly(sorted, f, &margin);
    const auto kept = CountKept(sorted, true, f);
    ASSERT_TRUE(kept.has_value());
    const int64_t partitioned = PartitionKept(shuffled, f);
    EXPECT_EQ(*kept, partitioned) << "round " << round;
    std::sort(shuffled.begin(), shuffled.begin() + partitioned, Precedes);
    for (int64_t i = 0; i < partitioned; ++i) {
      ASSERT_EQ(shuffled[static_cast<size_t>(i)].id, sorted[static_cast<size_t>(i)].id);
    }
    if (margin < 1e-5) continue;
    ++compared;
    EXPECT_EQ(*kept, wanted) << "round " << round;
    // With only a beginning of the row: the same answer, or none.
    const auto part = CountKept({sorted.data(), sorted.size() / 2}, false, f);
    if (part) {
      EXPECT_EQ(*part, wanted) << "round " << round;
    }
    if (f.top_k == 0 && *kept < static_cast<int64_t>(sorted.size() / 2)) {
      EXPECT_TRUE(part.has_value()) << "round " << round;
    }
  }
  EXPECT_GT(compared, 300);
}

}  // namespace
}  // namespace skein::test
