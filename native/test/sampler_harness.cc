// Building and running the steps.
#include "test/sampler_harness.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

std::vector<float> LocalLogits(const Step& step, const Part& part) {
  std::vector<float> local;
  for (const auto& row : step.logits) {
    local.insert(local.end(), row.begin() + part.start, row.begin() + part.start + part.count);
    local.insert(local.end(), 5, 1e30f);
  }
  return local;
}

}  // namespace

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

std::vector<SampledToken> SampleOnce(Sampler& sampler, const Step& step, const Part& part,
                                     Communicator& communicator) {
  std::vector<float> local = LocalLogits(step, part);
  std::vector<int32_t> slots;
  for (size_t i = 0; i < step.sequences.size(); ++i) slots.push_back(static_cast<int32_t>(i));
  for (const int32_t slot : slots) {
    const Sequence& sequence = step.sequences[static_cast<size_t>(slot)];
    if (!sequence.allowed.empty()) sampler.MaskNextToken(slot, MaskOf(sequence.allowed, part));
  }
  std::vector<SampledToken> out;
  sampler.Sample(MakeMatrix(local.data(), DType::kFloat32, static_cast<int64_t>(step.logits.size()),
                            part.count + 5),
                 slots, communicator, &out);
  return out;
}

std::vector<uint32_t> MaskOf(const std::vector<bool>& allowed, const Part& part) {
  std::vector<uint32_t> mask(static_cast<size_t>(MaskWords(part.count)));
  for (int64_t v = 0; v < part.count; ++v) {
    if (!allowed[static_cast<size_t>(part.start + v)]) continue;
    mask[static_cast<size_t>(v / 32)] |= 1u << (v % 32);
  }
  return mask;
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

std::vector<SampledToken> SampleStep(const Step& step, int world_size, int num_threads) {
  const auto parts = CutVocabulary(step.vocab_size, world_size);
  std::vector<std::vector<SampledToken>> results(static_cast<size_t>(world_size));
  const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
    const Part part = parts[static_cast<size_t>(communicator.rank())];
    ThreadPool pool(num_threads);
    const auto sampler = MakeCpuSampler(ShapeOf(step, part), pool);
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

std::vector<bool> RandomAllowed(int64_t vocab_size, uint64_t percent, std::mt19937_64& random) {
  std::vector<bool> allowed(static_cast<size_t>(vocab_size));
  for (size_t id = 0; id < allowed.size(); ++id) allowed[id] = random() % 100 < percent;
  allowed[random() % allowed.size()] = true;
  return allowed;
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

std::vector<SampledToken> SampleAtEveryWorldSize(const Step& step) {
  auto alone = SampleStep(step, 1);
  for (const int world_size : {2, 3, 4}) {
    const auto result = SampleStep(step, world_size);
    for (size_t i = 0; i < result.size(); ++i) ExpectSame(result[i], alone[i]);
  }
  return alone;
}

}  // namespace skein::test
