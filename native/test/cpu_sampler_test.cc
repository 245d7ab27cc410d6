// The collective sampler against a plain one (double precision, whole row, full sort), at world
// sizes 1 to 4 with uneven parts and padding; its distributions; and that nothing but the sequence
// itself decides what it gets.
#include "cpu/cpu_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <random>

#include "core/error.h"
#include "cpu/sampling_noise.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

struct Sequence {
  SamplingParams params;
  std::vector<int32_t> token_ids;
  int64_t num_prompt_tokens = 0;
};

// One step: the sequences and their rows of the whole vocabulary.
struct Step {
  int64_t vocab_size = 0;
  std::vector<Sequence> sequences;
  std::vector<std::vector<float>> logits;
};

struct Part {
  int64_t start;
  int64_t count;
};

// Uneven parts: rank r gets a share that grows with r; with many ranks and few tokens, some get
// none.
std::vector<Part> CutVocabulary(int64_t vocab_size, int world_size) {
  std::vector<Part> parts;
  int64_t start = 0;
  const int total = world_size * (world_size + 1) / 2;
  for (int r = 0; r < world_size; ++r) {
    const int64_t count = r + 1 == world_size ? vocab_size - start : vocab_size * (r + 1) / total;
    parts.push_back({start, count});
    start += count;
  }
  return parts;
}

SamplerShape ShapeOf(const Step& step, const Part& part) {
  SamplerShape shape;
  shape.max_sequences = 64;
  shape.vocab_size = step.vocab_size;
  shape.vocab_start = part.start;
  shape.vocab_valid_rows = part.count;
  shape.max_top_logprobs = 20;
  return shape;
}

// The rank's rows with 5 columns of padding that would win if they counted.
std::vector<float> LocalLogits(const Step& step, const Part& part) {
  std::vector<float> local;
  for (const auto& row : step.logits) {
    local.insert(local.end(), row.begin() + part.start, row.begin() + part.start + part.count);
    local.insert(local.end(), 5, 1e30f);
  }
  return local;
}

std::vector<SampledToken> SampleOnce(Sampler& sampler, const Step& step, const Part& part,
                                     Communicator& communicator) {
  std::vector<float> local = LocalLogits(step, part);
  std::vector<int32_t> slots;
  for (size_t i = 0; i < step.sequences.size(); ++i) slots.push_back(static_cast<int32_t>(i));
  std::vector<SampledToken> out;
  sampler.Sample(MakeMatrix(local.data(), DType::kFloat32, static_cast<int64_t>(step.logits.size()),
                            part.count + 5),
                 slots, communicator, &out);
  return out;
}

void BeginAll(Sampler& sampler, const Step& step) {
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    const Sequence& sequence = step.sequences[i];
    sampler.BeginSequence(static_cast<int32_t>(i), sequence.params, sequence.token_ids,
                          sequence.num_prompt_tokens);
  }
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Runs the step and expects the same of every rank.
std::vector<SampledToken> SampleStep(const Step& step, int world_size) {
  const auto parts = CutVocabulary(step.vocab_size, world_size);
  std::vector<std::vector<SampledToken>> results(static_cast<size_t>(world_size));
  const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
    const Part part = parts[static_cast<size_t>(communicator.rank())];
    const auto sampler = MakeCpuSampler(ShapeOf(step, part));
    BeginAll(*sampler, step);
    results[static_cast<size_t>(communicator.rank())] =
        SampleOnce(*sampler, step, part, communicator);
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "");
  for (const auto& result : results) {
    EXPECT_EQ(result.size(), step.sequences.size());
    for (size_t i = 0; i < result.size(); ++i) {
      EXPECT_EQ(result[i].slot, static_cast<int32_t>(i));
      EXPECT_EQ(result[i].token_id, results[0][i].token_id);
      EXPECT_TRUE(SameBits({result[i].logprob}, {results[0][i].logprob}));
      EXPECT_EQ(result[i].top_ids, results[0][i].top_ids);
      EXPECT_TRUE(SameBits(result[i].top_logprobs, results[0][i].top_logprobs));
    }
  }
  return results[0];
}

// ---- the plain sampler ----

struct PlainResult {
  int32_t token_id = 0;
  double logprob = 0;
  std::vector<std::pair<double, int32_t>> top;  // (log-probability, id), best first
  // How near the choice was to another one; below 1e-5 it may go either way.
  double margin = 1;
};

std::vector<double> AdjustPlainly(const Sequence& s, const std::vector<float>& logits) {
  std::vector<double> x(logits.begin(), logits.end());
  for (double& v : x) {
    if (std::isnan(v)) v = -std::numeric_limits<double>::infinity();
  }
  std::map<int32_t, int> seen, generated;
  for (size_t i = 0; i < s.token_ids.size(); ++i) {
    ++seen[s.token_ids[i]];
    if (static_cast<int64_t>(i) >= s.num_prompt_tokens) ++generated[s.token_ids[i]];
  }
  for (const auto& [id, count] : seen) {
    double& v = x[static_cast<size_t>(id)];
    v = v < 0 ? v * s.params.repetition_penalty : v / s.params.repetition_penalty;
  }
  for (const auto& [id, count] : generated) {
    x[static_cast<size_t>(id)] -= s.params.presence_penalty + s.params.frequency_penalty * count;
  }
  for (size_t i = 0; i < s.params.logit_bias_ids.size(); ++i) {
    x[static_cast<size_t>(s.params.logit_bias_ids[i])] += s.params.logit_bias_values[i];
  }
  if (static_cast<int64_t>(s.token_ids.size()) - s.num_prompt_tokens < s.params.min_tokens) {
    for (const int32_t id : s.params.stop_token_ids) {
      x[static_cast<size_t>(id)] = -std::numeric_limits<double>::infinity();
    }
  }
  return x;
}

// Ids that pass the filters, from ids in order.
std::vector<int32_t> FilterPlainly(const std::vector<double>& x, std::vector<int32_t> ids,
                                   const SamplingParams& p, double* margin) {
  const auto weight = [&](int32_t id) {
    return std::exp((x[static_cast<size_t>(id)] - x[static_cast<size_t>(ids[0])]) / p.temperature);
  };
  if (p.top_k > 0 && p.top_k < static_cast<int32_t>(ids.size())) {
    ids.resize(static_cast<size_t>(p.top_k));
  }
  double total = 0;
  for (const int32_t id : ids) total += weight(id);
  double before = 0;
  std::vector<int32_t> kept;
  for (const int32_t id : ids) {
    if (!kept.empty() && p.top_p < 1)
      *margin = std::min(*margin, std::abs(before / total - p.top_p));
    if (!kept.empty() && p.min_p > 0) *margin = std::min(*margin, std::abs(weight(id) - p.min_p));
    if (!kept.empty() && p.top_p < 1 && before >= p.top_p * total) break;
    if (!kept.empty() && weight(id) < p.min_p) break;
    kept.push_back(id);
    before += weight(id);
  }
  return kept;
}

PlainResult SamplePlainly(const Sequence& s, const std::vector<float>& logits) {
  const std::vector<double> x = AdjustPlainly(s, logits);
  std::vector<int32_t> ids(x.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto value = [&](int32_t id) { return x[static_cast<size_t>(id)]; };
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return value(a) > value(b); });
  PlainResult result;
  double sum = 0;
  for (const double v : x) sum += std::exp(v - value(ids[0]));
  const double log_sum = value(ids[0]) + std::log(sum);
  for (const int32_t id : ids) result.top.emplace_back(value(id) - log_sum, id);
  result.token_id = ids[0];
  if (s.params.temperature >= 1e-5f) {
    const auto kept = FilterPlainly(x, ids, s.params, &result.margin);
    const NoiseKey key{s.params.seed, s.params.choice_index, s.token_ids.size()};
    double best = -std::numeric_limits<double>::infinity();
    double second = best;
    for (const int32_t id : kept) {
      const double noisy = value(id) / s.params.temperature + GumbelNoise(key, id);
      if (noisy > best) {
        second = best;
        best = noisy;
        result.token_id = id;
      } else {
        second = std::max(second, noisy);
      }
    }
    result.margin = std::min(result.margin, (best - second) / std::max(1.0, std::abs(best)));
  } else if (ids.size() > 1 && value(ids[0]) != value(ids[1])) {
    result.margin = value(ids[0]) - value(ids[1]);
  }
  result.logprob = value(result.token_id) - log_sum;
  return result;
}

// ---- inputs ----

std::vector<float> RandomLogits(int64_t count, std::mt19937_64& random, float scale) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(static_cast<size_t>(count));
  for (float& x : logits) x = normal(random);
  return logits;
}

Sequence RandomSequence(int64_t vocab_size, std::mt19937_64& random) {
  const auto chance = [&](int one_in) { return random() % static_cast<uint64_t>(one_in) == 0; };
  const auto token = [&] {
    return static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  };
  Sequence s;
  s.params.seed = random();
  s.params.choice_index = static_cast<uint32_t>(random() % 3);
  s.params.temperature = chance(4) ? 0 : 0.25f + static_cast<float>(random() % 16) / 8;
  const int64_t counts[] = {1, 5, 50, 2000, vocab_size, vocab_size + 1};
  if (chance(3)) s.params.top_k = static_cast<int32_t>(counts[random() % 6]);
  if (chance(2)) s.params.top_p = static_cast<float>(random() % 100) / 100;
  if (chance(3)) s.params.min_p = static_cast<float>(random() % 100) / 300;
  if (chance(3)) s.params.repetition_penalty = 1.25f;
  if (chance(3)) s.params.presence_penalty = 0.5f;
  if (chance(3)) s.params.frequency_penalty = -0.25f;
  s.params.num_top_logprobs = chance(2) ? 0 : static_cast<int32_t>(random() % 21);
  s.params.return_logprobs = chance(2);
  s.params.min_tokens = static_cast<int32_t>(random() % 10);
  for (uint64_t i = random() % 4; i > 0; --i) s.params.stop_token_ids.push_back(token());
  for (uint64_t i = random() % 4; i > 0; --i) {
    s.params.logit_bias_ids.push_back(token());
    s.params.logit_bias_values.push_back(static_cast<float>(random() % 80) / 8 - 5);
  }
  for (uint64_t i = random() % 40; i > 0; --i) s.token_ids.push_back(token());
  s.num_prompt_tokens = static_cast<int64_t>(random() % (s.token_ids.size() + 1));
  return s;
}

Step RandomStep(std::mt19937_64& random) {
  const int64_t sizes[] = {1, 2, 3, 47, 300, 5003};
  Step step;
  step.vocab_size = sizes[random() % 6];
  for (uint64_t i = 1 + random() % 6; i > 0; --i) {
    step.sequences.push_back(RandomSequence(step.vocab_size, random));
    step.logits.push_back(
        RandomLogits(step.vocab_size, random, 0.1f + static_cast<float>(random() % 60) / 10));
  }
  return step;
}

void ExpectSame(const SampledToken& a, const SampledToken& b) {
  EXPECT_EQ(a.token_id, b.token_id);
  EXPECT_TRUE(SameBits({a.logprob}, {b.logprob}));
  EXPECT_EQ(a.top_ids, b.top_ids);
  EXPECT_TRUE(SameBits(a.top_logprobs, b.top_logprobs));
}

// ---- tests ----

TEST(CpuSampler, AgreesWithThePlainSamplerAndWithItselfAtEveryWorldSize) {
  std::mt19937_64 random(2024);
  int compared = 0;
  for (int round = 0; round < 250; ++round) {
    const Step step = RandomStep(random);
    const auto alone = SampleStep(step, 1);
    for (const int world_size : {2, 3, 4}) {
      const auto result = SampleStep(step, world_size);
      for (size_t i = 0; i < result.size(); ++i) ExpectSame(result[i], alone[i]);
    }
    for (size_t i = 0; i < alone.size(); ++i) {
      const Sequence& s = step.sequences[i];
      const PlainResult plain = SamplePlainly(s, step.logits[i]);
      if (!(plain.margin > 1e-5) || !std::isfinite(plain.logprob)) continue;
      ++compared;
      EXPECT_EQ(alone[i].token_id, plain.token_id) << "round " << round << " row " << i;
      if (!s.params.return_logprobs && s.params.num_top_logprobs == 0) {
        EXPECT_TRUE(std::isnan(alone[i].logprob));
        continue;
      }
      EXPECT_NEAR(alone[i].logprob, plain.logprob, 1e-5 + 1e-6 * std::abs(plain.logprob));
      for (size_t t = 0; t < alone[i].top_ids.size(); ++t) {
        EXPECT_NEAR(alone[i].top_logprobs[t], plain.top[t].first, 1e-4);
      }
      size_t finite = 0;
      while (finite < plain.top.size() && std::isfinite(plain.top[finite].first)) ++finite;
      EXPECT_EQ(alone[i].top_ids.size(),
                std::min(finite, static_cast<size_t>(s.params.num_top_logprobs)));
    }
    if (HasFailure()) break;
  }
  EXPECT_GT(compared, 600);
}

TEST(CpuSampler, GreedyTiesGoToTheLowestId) {
  Step step;
  step.vocab_size = 1000;
  step.sequences.resize(1);
  step.logits.emplace_back(1000, -3.0f);
  for (const size_t id : {300u, 301u, 700u, 999u}) step.logits[0][id] = 2.5f;
  for (const int world_size : {1, 2, 3, 4}) {
    EXPECT_EQ(SampleStep(step, world_size)[0].token_id, 300);
  }
}

TEST(CpuSampler, NanInfinityAndRowsWithEverythingBannedHaveADefinedChoice) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0f, 0.7f}) {
    for (const float top_p : {1.0f, 0.5f}) {
      Step step;
      step.vocab_size = 600;
      step.sequences.resize(4);
      for (Sequence& s : step.sequences) {
        s.params.temperature = temperature;
        s.params.top_p = top_p;
        s.params.num_top_logprobs = 3;
      }
      step.logits = {std::vector<float>(600, std::nanf("")), std::vector<float>(600, -infinity),
                     std::vector<float>(600, 0.0f), std::vector<float>(600, 1.0f)};
      step.logits[2][77] = infinity;
      step.logits[3][5] = std::nanf("");
      const auto alone = SampleStep(step, 1);
      for (const int world_size : {2, 3, 4}) {
        const auto result = SampleStep(step, world_size);
        for (size_t i = 0; i < result.size(); ++i) ExpectSame(result[i], alone[i]);
      }
      EXPECT_EQ(alone[0].token_id, 0);
      EXPECT_EQ(alone[1].token_id, 0);
      EXPECT_TRUE(alone[0].top_ids.empty());
      EXPECT_NEAR(alone[0].logprob, -std::log(600.0), 1e-5);
      EXPECT_EQ(alone[2].token_id, 77);
      EXPECT_EQ(alone[2].logprob, 0.0f);
      EXPECT_NE(alone[3].token_id, 5);
    }
  }
}

// Pearson's statistic of many draws against the probabilities that the filters leave.
double ChiSquare(const std::vector<double>& probabilities, const std::vector<int>& counts,
                 int draws) {
  double sum = 0;
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double expected = probabilities[i] * draws;
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i << " was filtered out";
      continue;
    }
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum;
}

TEST(CpuSampler, DrawsFollowTheFilteredDistribution) {
  constexpr int kDraws = 20000;
  constexpr int kRows = 50;
  std::vector<SamplingParams> cases(6);
  for (SamplingParams& p : cases) p.temperature = 0.8f;
  cases[1].top_k = 7;
  cases[2].top_p = 0.6f;
  cases[3].min_p = 0.2f;
  cases[4].top_k = 9;
  cases[4].top_p = 0.8f;
  cases[4].min_p = 0.1f;
  cases[5].temperature = 2.5f;
  std::mt19937_64 random(5);
  const auto logits = RandomLogits(20, random, 1.5f);
  for (size_t c = 0; c < cases.size(); ++c) {
    Sequence s;
    s.params = cases[c];
    const std::vector<double> x(logits.begin(), logits.end());
    std::vector<int32_t> ids(20);
    for (size_t i = 0; i < 20; ++i) ids[i] = static_cast<int32_t>(i);
    std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
      return x[static_cast<size_t>(a)] > x[static_cast<size_t>(b)];
    });
    double margin = 1;
    std::vector<double> probabilities(20, 0.0);
    double total = 0;
    const auto kept = FilterPlainly(x, ids, s.params, &margin);
    for (const int32_t id : kept) {
      probabilities[static_cast<size_t>(id)] =
          std::exp(x[static_cast<size_t>(id)] / s.params.temperature);
      total += probabilities[static_cast<size_t>(id)];
    }
    for (double& p : probabilities) p /= total;

    // Positions of kRows sequences of different seeds.
    Step step;
    step.vocab_size = 20;
    for (int i = 0; i < kRows; ++i) {
      s.params.seed = static_cast<uint64_t>(i) * 7919 + 1;
      step.sequences.push_back(s);
      step.logits.push_back(logits);
    }
    std::vector<int> counts(20, 0);
    RunThreads(1, [&](Communicator& communicator) {
      const Part part{0, 20};
      const auto sampler = MakeCpuSampler(ShapeOf(step, part));
      BeginAll(*sampler, step);
      for (int draw = 0; draw < kDraws; draw += kRows) {
        for (const auto& token : SampleOnce(*sampler, step, part, communicator)) {
          ++counts[static_cast<size_t>(token.token_id)];
        }
      }
    });
    const double freedom = static_cast<double>(kept.size()) - 1;
    const double statistic = ChiSquare(probabilities, counts, kDraws);
    // Four standard deviations above the mean of the chi-square distribution.
    EXPECT_LT(statistic, freedom + 4 * std::sqrt(2 * freedom)) << "case " << c;
    EXPECT_GT(kept.size(), 1u);
  }
}

TEST(CpuSampler, WhatASequenceGetsDoesNotDependOnItsBatch) {
  std::mt19937_64 random(99);
  Step step;
  step.vocab_size = 3000;
  for (int i = 0; i < 12; ++i) {
    step.sequences.push_back(RandomSequence(step.vocab_size, random));
    step.logits.push_back(RandomLogits(step.vocab_size, random, 3));
  }
  const auto together = SampleStep(step, 2);
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    Step alone;
    alone.vocab_size = step.vocab_size;
    alone.sequences = {step.sequences[i]};
    alone.logits = {step.logits[i]};
    ExpectSame(SampleStep(alone, 2)[0], together[i]);
  }
}

// A sequence that is interrupted after some tokens and begun again with them goes on as if it had
// not been.
TEST(CpuSampler, ReplayAfterPreemptionGivesTheSameContinuation) {
  constexpr int kSteps = 30;
  std::mt19937_64 random(4);
  Step step;
  step.vocab_size = 200;
  for (int i = 0; i < 8; ++i) {
    step.sequences.push_back(RandomSequence(200, random));
    step.sequences.back().params.min_tokens = 15;
    step.logits.emplace_back();
  }
  std::vector<std::vector<std::vector<float>>> logits(kSteps);
  for (auto& rows : logits) {
    for (size_t i = 0; i < 8; ++i) rows.push_back(RandomLogits(200, random, 2));
  }
  for (const int world_size : {1, 3}) {
    const auto parts = CutVocabulary(200, world_size);
    const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
      const Part part = parts[static_cast<size_t>(communicator.rank())];
      Step current = step;
      const auto whole = MakeCpuSampler(ShapeOf(step, part));
      const auto replayed = MakeCpuSampler(ShapeOf(step, part));
      BeginAll(*whole, current);
      for (int n = 0; n < kSteps; ++n) {
        current.logits = logits[static_cast<size_t>(n)];
        // `replayed` knows only what `current` has recorded so far.
        BeginAll(*replayed, current);
        const auto wanted = SampleOnce(*whole, current, part, communicator);
        const auto got = SampleOnce(*replayed, current, part, communicator);
        for (size_t i = 0; i < wanted.size(); ++i) {
          SKEIN_CHECK(wanted[i].token_id == got[i].token_id, "step %d row %zu", n, i);
          SKEIN_CHECK(SameBits(wanted[i].top_logprobs, got[i].top_logprobs), "step %d", n);
          current.sequences[i].token_ids.push_back(wanted[i].token_id);
        }
      }
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
}

TEST(CpuSampler, ChoicesOfOneRequestDiffer) {
  Step step;
  step.vocab_size = 500;
  for (uint32_t choice = 0; choice < 20; ++choice) {
    Sequence s;
    s.params.temperature = 1;
    s.params.seed = 7;
    s.params.choice_index = choice;
    step.sequences.push_back(s);
    step.logits.emplace_back(500, 0.0f);
  }
  std::map<int32_t, int> distinct;
  for (const auto& token : SampleStep(step, 2)) ++distinct[token.token_id];
  EXPECT_GT(distinct.size(), 12u);
}

// Counts the collective calls of a step.
class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  const char* kind() const override { return inner_.kind(); }
  void AllReduce(void* d, int64_t n, DType t, ReduceOp op, void* s) override {
    ++calls;
    inner_.AllReduce(d, n, t, op, s);
  }
  void AllGather(const void* s, void* r, size_t n, void* stream) override {
    ++calls;
    inner_.AllGather(s, r, n, stream);
  }
  void Broadcast(void* d, size_t n, int root, void* s) override {
    ++calls;
    inner_.Broadcast(d, n, root, s);
  }
  void Barrier() override {
    ++calls;
    inner_.Barrier();
  }
  void Abort() override { inner_.Abort(); }
  int64_t TakeWaitNanoseconds() override { return inner_.TakeWaitNanoseconds(); }

  int calls = 0;

 private:
  Communicator& inner_;
};

TEST(CpuSampler, AWholeBatchTakesOneExchangeUnlessFiltersOrLogprobsNeedMore) {
  std::mt19937_64 random(3);
  const auto calls_for = [&](const SamplingParams& params, float scale) {
    Step step;
    step.vocab_size = 4000;
    step.sequences.resize(5);
    for (Sequence& s : step.sequences) {
      s.params = params;
      step.logits.push_back(RandomLogits(4000, random, scale));
    }
    int calls = 0;
    RunThreads(2, [&](Communicator& communicator) {
      const Part part = CutVocabulary(4000, 2)[static_cast<size_t>(communicator.rank())];
      const auto sampler = MakeCpuSampler(ShapeOf(step, part));
      BeginAll(*sampler, step);
      CountingCommunicator counting(communicator);
      SampleOnce(*sampler, step, part, counting);
      if (communicator.rank() == 0) calls = counting.calls;
    });
    return calls;
  };
  SamplingParams params;
  EXPECT_EQ(calls_for(params, 3), 1) << "greedy";
  params.temperature = 1;
  EXPECT_EQ(calls_for(params, 3), 1) << "unfiltered";
  params.top_k = 40;
  params.top_p = 0.9f;
  EXPECT_EQ(calls_for(params, 3), 1) << "top-k and top-p";
  params.top_k = 0;
  EXPECT_EQ(calls_for(params, 6), 2) << "top-p within the candidates";
  EXPECT_EQ(calls_for(params, 0.1f), 3) << "top-p beyond the candidates";
  params.top_k = 3000;
  EXPECT_EQ(calls_for(params, 3), 2) << "a top-k beyond the candidates";
}

TEST(CpuSampler, RefusesParametersOutOfRangeAndNamesThem) {
  const auto sampler = MakeCpuSampler(ShapeOf(Step{100, {}, {}}, {0, 100}));
  const auto message = [&](const std::function<void(SamplingParams&)>& change) -> std::string {
    SamplingParams params;
    change(params);
    try {
      sampler->BeginSequence(0, params, {}, 0);
    } catch (const Error& error) {
      return error.code() + " " + error.what();
    }
    return "accepted";
  };
  const auto refused = [&](const char* field, const std::function<void(SamplingParams&)>& change) {
    const std::string text = message(change);
    EXPECT_EQ(text.rfind("INVALID_REQUEST", 0), 0u) << text;
    EXPECT_NE(text.find(field), std::string::npos) << text;
  };
  refused("temperature", [](SamplingParams& p) { p.temperature = -1; });
  refused("temperature", [](SamplingParams& p) { p.temperature = std::nanf(""); });
  refused("top_k", [](SamplingParams& p) { p.top_k = -1; });
  refused("top_p", [](SamplingParams& p) { p.top_p = 1.5f; });
  refused("min_p", [](SamplingParams& p) { p.min_p = -0.1f; });
  refused("repetition_penalty", [](SamplingParams& p) { p.repetition_penalty = 0; });
  refused("num_top_logprobs", [](SamplingParams& p) { p.num_top_logprobs = 21; });
  refused("logit_bias_values", [](SamplingParams& p) { p.logit_bias_ids = {1}; });
  refused("logit_bias_ids", [](SamplingParams& p) {
    p.logit_bias_ids = {100};
    p.logit_bias_values = {1};
  });
  refused("stop_token_ids", [](SamplingParams& p) { p.stop_token_ids = {-1}; });
  EXPECT_EQ(message([](SamplingParams& p) { p.num_top_logprobs = 20; }), "accepted");
}

}  // namespace
}  // namespace skein::test
