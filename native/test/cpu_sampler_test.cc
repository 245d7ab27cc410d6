// The collective sampler against a plain one (double precision, whole row, full sort), at world
// sizes 1 to 4 with uneven parts and padding; its distributions; and that nothing but the sequence
// itself decides what it gets.
#include "cpu/cpu_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "core/error.h"
#include "core/thread_pool.h"
#include "test/rank_group.h"
#include "test/sampler_harness.h"

namespace skein::test {
namespace {

TEST(CpuSampler, AgreesWithThePlainSamplerAndWithItselfAtEveryWorldSize) {
  std::mt19937_64 random(2024);
  int compared = 0;
  for (int round = 0; round < 250; ++round) {
    const Step step = RandomStep(random);
    const auto alone = SampleAtEveryWorldSize(step);
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

// A mask beside every other parameter: the plain sampler's choice, at every world size, and never a
// token that it lacks.
TEST(CpuSampler, MaskedRowsAgreeWithThePlainSamplerAtEveryWorldSize) {
  std::mt19937_64 random(77);
  int compared = 0;
  for (int round = 0; round < 200; ++round) {
    Step step = RandomStep(random);
    for (Sequence& s : step.sequences) {
      const uint64_t percents[] = {0, 1, 30, 99};
      if (random() % 4 != 0) {
        s.allowed = RandomAllowed(step.vocab_size, percents[random() % 4], random);
      }
      // A ban of an allowed token may leave none.
      s.params.min_tokens = 0;
    }
    const auto alone = SampleAtEveryWorldSize(step);
    for (size_t i = 0; i < alone.size(); ++i) {
      const Sequence& s = step.sequences[i];
      if (s.allowed.empty()) continue;
      EXPECT_TRUE(s.allowed[static_cast<size_t>(alone[i].token_id)]) << "round " << round;
      for (const int32_t id : alone[i].top_ids) EXPECT_TRUE(s.allowed[static_cast<size_t>(id)]);
      const PlainResult plain = SamplePlainly(s, step.logits[i]);
      if (!(plain.margin > 1e-5) || !std::isfinite(plain.logprob)) continue;
      ++compared;
      EXPECT_EQ(alone[i].token_id, plain.token_id) << "round " << round << " row " << i;
      if (!s.params.return_logprobs && s.params.num_top_logprobs == 0) continue;
      EXPECT_NEAR(alone[i].logprob, plain.logprob, 1e-5 + 1e-6 * std::abs(plain.logprob));
    }
    if (HasFailure()) break;
  }
  EXPECT_GT(compared, 300);
}

TEST(CpuSampler, AMaskHoldsForOneToken) {
  Step step;
  step.vocab_size = 70;
  step.sequences.resize(2);
  step.sequences[0].allowed.assign(70, false);
  step.sequences[0].allowed[69] = true;
  step.logits.assign(2, std::vector<float>(70, 0.0f));
  step.logits[0][3] = step.logits[1][3] = 9;
  const auto group = MakeLocalGroup(1);
  ThreadPool pool(1);
  const auto sampler = MakeCpuSampler(ShapeOf(step, {0, 70}), pool);
  BeginAll(*sampler, step);
  auto tokens = SampleOnce(*sampler, step, {0, 70}, *group[0]);
  EXPECT_EQ(tokens[0].token_id, 69);
  EXPECT_EQ(tokens[1].token_id, 3) << "the other row has none";
  step.sequences[0].allowed.clear();
  EXPECT_EQ(SampleOnce(*sampler, step, {0, 70}, *group[0])[0].token_id, 3);
  // It ends with its sequence.
  sampler->MaskNextToken(0, std::vector<uint32_t>{1, 0, 0});
  sampler->EndSequence(0);
  sampler->BeginSequence(0, SamplingParams(), {}, 0);
  EXPECT_EQ(SampleOnce(*sampler, step, {0, 70}, *group[0])[0].token_id, 3);
  EXPECT_THROW(sampler->MaskNextToken(0, std::vector<uint32_t>{1, 0}), Error);
  EXPECT_THROW(sampler->MaskNextToken(5, std::vector<uint32_t>{1, 0, 0}), Error);
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
      ThreadPool pool(1);
      const auto sampler = MakeCpuSampler(ShapeOf(step, part), pool);
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

// A vocabulary of the real size, for which rows are shared among threads.
TEST(CpuSampler, NeitherThreadsNorRanksChangeALargeRow) {
  std::mt19937_64 random(17);
  Step step;
  step.vocab_size = 151936;
  for (int i = 0; i < 3; ++i) {
    step.sequences.push_back(RandomSequence(step.vocab_size, random));
    step.sequences.back().params.temperature = 0.9f;
    step.sequences.back().params.top_k = 0;
    step.sequences.back().params.top_p = i == 0 ? 1.0f : 0.8f;
    step.sequences.back().params.min_p = 0;
    // The last one's nucleus is far larger than the candidates.
    step.logits.push_back(RandomLogits(step.vocab_size, random, i == 2 ? 0.5f : 6.0f));
  }
  const auto alone = SampleStep(step, 1, 1);
  const auto shared = SampleStep(step, 1, 3);
  const auto ranks = SampleStep(step, 2, 2);
  for (size_t i = 0; i < alone.size(); ++i) {
    ExpectSame(shared[i], alone[i]);
    ExpectSame(ranks[i], alone[i]);
    const PlainResult plain = SamplePlainly(step.sequences[i], step.logits[i]);
    if (plain.margin > 1e-5) {
      EXPECT_EQ(alone[i].token_id, plain.token_id) << "row " << i;
    }
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
  void AllReduce(void* d, int64_t n, DType t, ReduceOp op, DeviceStream* s) override {
    ++calls;
    inner_.AllReduce(d, n, t, op, s);
  }
  void AllGather(const void* s, void* r, size_t n, DeviceStream* stream) override {
    ++calls;
    inner_.AllGather(s, r, n, stream);
  }
  void Broadcast(void* d, size_t n, int root, DeviceStream* s) override {
    ++calls;
    inner_.Broadcast(d, n, root, s);
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
      ThreadPool pool(1);
      const auto sampler = MakeCpuSampler(ShapeOf(step, part), pool);
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
  ThreadPool pool(1);
  const auto sampler = MakeCpuSampler(ShapeOf(Step{100, {}, {}}, {0, 100}), pool);
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
