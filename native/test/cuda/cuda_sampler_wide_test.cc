// Rows whose candidates do not hold what their filter keeps: the device's cut and choice beside the
// host's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "core/error.h"
#include "sampling/logit_kernels.h"
#include "test/cuda/device_sampler_harness.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

using CudaWideRowsTest = CudaSamplerTest;

// Filters that keep more tokens than any list of candidates holds, and rows whose cut lies among
// equal logits or in none; beside them rows that need no second look.
Steps MakeWideSteps(int64_t vocab_size, std::mt19937_64& random) {
  struct Filter {
    float temperature;
    int32_t top_k;
    float top_p;
    float min_p;
  };
  const Filter filters[] = {
      {1, 0, 0.99f, 0},
      {2, 0, 0.9999f, 0},
      {1, 0, 1, 0.02f},
      {1, 0, 0.99f, 0.2f},
      {1, 1500, 1, 0},
      {0.9f, 2500, 0.9f, 0},
      {1.5f, 4000, 0.5f, 1e-3f},
      {1, 1100, 1, 0.9f},
      {1e30f, 0, 0.7f, 0},
      {0.6f, 0, 0.95f, 0},
      {0, 0, 1, 0},
      {1, 0, 0.999f, 1},
      {0.01f, 3000, 0.99f, 0},
      {3e38f, 4999, 0.37f, 0},
      {1, 1500, 0, 0},
  };
  Steps steps;
  steps.vocab_size = vocab_size;
  steps.logits.emplace_back();
  steps.begun_anew.emplace_back();
  const bool is_large = vocab_size > 10000;
  for (const Filter& filter : filters) {
    // Every filter over a kind of logits where they are many, over each where they are few.
    for (int kind = 0; kind < 6; ++kind) {
      if (is_large && kind != static_cast<int>(steps.sequences.size() % 5)) continue;
      Sequence s;
      s.params.temperature = filter.temperature;
      s.params.top_k = filter.top_k;
      s.params.top_p = filter.top_p;
      s.params.min_p = filter.min_p;
      s.params.seed = random();
      s.params.choice_index = static_cast<int32_t>(random() % 3);
      s.params.num_top_logprobs = random() % 4 == 0 ? 20 : 0;
      steps.sequences.push_back(s);
      auto row = RandomLogits(vocab_size, random, kind == 0 ? 0.2f : 1.5f);
      if (kind == 1) std::fill(row.begin(), row.end(), -2.5f);
      if (kind == 2) {
        for (float& x : row) x = std::round(x);
      }
      if (kind == 3) {
        for (float& x : row) x = x < 0 ? -std::numeric_limits<float>::infinity() : x;
      }
      if (kind == 4) {
        for (float& x : row) x = random() % 2 == 0 ? 0.0f : -0.0f;
      }
      if (kind == 5) row = MakeLogits(Kind::kSpecial, vocab_size, random);
      steps.logits[0].push_back(std::move(row));
    }
  }
  return steps;
}

TEST_F(CudaWideRowsTest, SmallVocabularies) {
  std::mt19937_64 random(17);
  for (const int64_t vocab_size : {330, 5000}) {
    for (int round = 0; round < Times(3, 1); ++round) {
      const Steps steps = MakeWideSteps(vocab_size, random);
      for (const int world_size : WorldSizes({1, 2, 3, 4})) {
        ExpectTheHostsBits(steps, world_size, Format("%d tokens", static_cast<int>(vocab_size)));
        if (HasFailure()) return;
      }
    }
  }
}

// From the third on, such rows are cut without having looked for candidates.
TEST_F(CudaWideRowsTest, RowsThatStayWide) {
  std::mt19937_64 random(20);
  Steps steps = MakeWideSteps(5000, random);
  for (int step = 1; step < 5; ++step) {
    steps.logits.push_back(steps.logits[0]);
    steps.begun_anew.emplace_back();
  }
  for (const int world_size : WorldSizes({1, 3})) {
    ExpectTheHostsBits(steps, world_size, "rows that stay wide");
  }
}

TEST_F(CudaWideRowsTest, TheModelsVocabulary) {
  std::mt19937_64 random(18);
  const Steps steps = MakeWideSteps(151674, random);
  for (const int world_size : WorldSizes({1, 2, 3, 4})) {
    ExpectTheHostsBits(steps, world_size, "151,674 tokens");
    if (HasFailure()) return;
  }
}

// Filters that end just before and just behind a token that beats all better ones under noise, so
// that one token more or less makes another choice.
TEST_F(CudaWideRowsTest, CutsAreExactToTheToken) {
  // A power of two: of equal logits, masses are reached exactly.
  constexpr int64_t kVocab = 4096;
  constexpr size_t kFirstCut = 1100, kTopK = 3000;
  constexpr float kTemperature = 1.3f, kInverse = 1.0f / kTemperature;
  std::mt19937_64 random(19);
  Steps steps;
  steps.vocab_size = kVocab;
  steps.logits.emplace_back();
  steps.begun_anew.emplace_back();
  const auto seeds = static_cast<uint64_t>(Times(40, 8));
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const auto row = RandomLogits(kVocab, random, seed % 3 == 0 ? 0.0f : 0.5f);
    std::vector<Candidate> tokens;
    for (size_t v = 0; v < row.size(); ++v) tokens.push_back({row[v], static_cast<int32_t>(v)});
    std::sort(tokens.begin(), tokens.end(), Precedes);
    std::vector<Mass> masses(tokens.size());
    RelativeMasses(tokens, tokens[0].logit, kInverse, masses.data());
    std::partial_sum(masses.begin(), masses.end(), masses.begin());
    const auto add = [&](int32_t top_k, float top_p, float min_p) {
      Sequence s;
      s.params.temperature = kTemperature;
      s.params.seed = seed;
      s.params.top_k = top_k;
      s.params.top_p = top_p;
      s.params.min_p = min_p;
      steps.sequences.push_back(s);
      steps.logits[0].push_back(row);
    };
    NoisyToken best = HighestNoisy({tokens.data(), kFirstCut}, {seed, 0, 0}, kInverse);
    for (size_t i = kFirstCut; i < kTopK; ++i) {
      const NoisyToken token = HighestNoisy({&tokens[i], 1}, {seed, 0, 0}, kInverse);
      if (token.value <= best.value) continue;
      best = token;
      add(static_cast<int32_t>(i), 1, 0);
      add(static_cast<int32_t>(i) + 1, 1, 0);
      for (const size_t top_k : {size_t{0}, kTopK}) {
        const Mass total = masses[top_k > 0 ? top_k - 1 : masses.size() - 1];
        const auto before = static_cast<double>(masses[i - 1]);
        auto top_p = static_cast<float>(before / static_cast<double>(total));
        while (top_p * static_cast<double>(total) <= before) top_p = std::nextafter(top_p, 1.0f);
        add(static_cast<int32_t>(top_k), std::nextafter(top_p, 0.0f), 0);
        add(static_cast<int32_t>(top_k), top_p, 0);
      }
      const float ratio = RelativeProbability(tokens[i].logit, tokens[0].logit, kInverse);
      add(0, 1, std::min(1.0f, std::nextafter(ratio, 2.0f)));
      add(0, 1, ratio);
    }
  }
  const auto alone = MakeLocalGroup(1);
  const Outcome host = RunOnHost(steps, {0, kVocab}, *alone[0]);
  int told_apart = 0;
  for (size_t i = 0; i < steps.sequences.size(); i += 2) {
    const bool differ = host.tokens[0][i].token_id != host.tokens[0][i + 1].token_id;
    // Among equal logits min-p keeps all or one.
    EXPECT_TRUE(differ || i % 8 == 6) << i;
    told_apart += differ ? 1 : 0;
  }
  EXPECT_GT(told_apart, Times(40, 4));
  for (const int world_size : {1, 2, 4}) ExpectTheHostsBits(steps, world_size, "exact cuts");
}

}  // namespace
}  // namespace skein::test
