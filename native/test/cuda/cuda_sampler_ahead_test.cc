// Steps whose tokens the device chooses by itself, so that the next step begins before the host
// knows them: the tokens, log-probabilities and adjusted logits of the CPU's sampler, to the bit.
#include <gtest/gtest.h>

#include <random>

#include "core/thread_pool.h"
#include "cuda/cuda_sampler.h"
#include "test/cuda/device_sampler_harness.h"

namespace skein::test {
namespace {

// Whatever a sequence may ask, but for a cut by number; few begin anew, so that most steps take on
// a token that only the device knows.
Steps MakeAheadSteps(int64_t vocab_size, size_t num_sequences, size_t num_steps,
                     std::mt19937_64& random) {
  Steps steps = MakeSteps(vocab_size, num_sequences, num_steps, random, 16);
  for (Sequence& sequence : steps.sequences) sequence.params.top_k = 0;
  return steps;
}

TEST_F(CudaSamplerTest, AheadSmallVocabularies) {
  std::mt19937_64 random(21);
  const int64_t sizes[] = {1, 2, 31, 33, 330, 2049, 5003};
  for (int round = 0; round < Times(120, 1); ++round) {
    const Steps steps = MakeAheadSteps(sizes[random() % 7], 1 + random() % 5,
                                       static_cast<size_t>(Times(6, 2)), random);
    for (const int world_size : WorldSizes({1, 2, 4})) {
      ExpectTheHostsBits(steps, world_size, Format("round %d", round), Way::kAhead);
      if (HasFailure()) return;
    }
  }
}

// Every step counts a token that only the device knows when the step begins.
TEST_F(CudaSamplerTest, AheadPenaltiesOverManySteps) {
  std::mt19937_64 random(22);
  constexpr int64_t kVocab = 300;
  Steps steps = MakeAheadSteps(kVocab, 4, static_cast<size_t>(Times(60, 6)), random);
  for (Sequence& s : steps.sequences) {
    s.params.repetition_penalty = 1.05f;
    s.params.presence_penalty = 0.3f;
    s.params.frequency_penalty = 0.7f;
    s.params.temperature = 0.6f;
    s.params.min_tokens = static_cast<int32_t>(s.token_ids.size() + 20);
    s.params.stop_token_ids = {5, 6, 7};
  }
  for (const int world_size : WorldSizes({1, 2, 3})) {
    ExpectTheHostsBits(steps, world_size, "many steps", Way::kAhead);
  }
}

// The models' vocabulary and recommended settings: narrow nuclei, wide ones, none, and greedy rows.
TEST_F(CudaSamplerTest, AheadTheModelsVocabulary) {
  std::mt19937_64 random(23);
  constexpr int64_t kVocab = 151674;
  Steps steps = MakeAheadSteps(kVocab, 5, 3, random);
  for (auto& begun : steps.begun_anew) begun.clear();
  for (size_t i = 0; i < steps.sequences.size(); ++i) {
    SamplingParams& params = steps.sequences[i].params;
    params = SamplingParams();
    params.seed = random();
    params.temperature = i == 1 ? 0.0f : 0.6f;
    params.top_p = i == 2 ? 1.0f : 0.95f;
    params.repetition_penalty = 1.05f;
    params.num_top_logprobs = i == 3 ? 20 : 0;
  }
  for (auto& rows : steps.logits) {
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = RandomLogits(kVocab, random, i == 4 ? 0.5f : 4.0f);
    }
  }
  for (const int world_size : WorldSizes({1, 2})) {
    ExpectTheHostsBits(steps, world_size, "151,674 tokens", Way::kAhead);
  }
}

// A greedy step takes one gather, as one that is waited for; who is cut, one for the ranks' highest
// logits, one for the findings, five for the digits and one for the choice.
TEST_F(CudaSamplerTest, AheadGathers) {
  std::mt19937_64 random(24);
  SamplingParams params;
  const auto gathers = [&] {
    return ExpectTheHostsBits(
        OneStep(params, {RandomLogits(4000, random, 3), RandomLogits(4000, random, 3)}), 2,
        "gathers", Way::kAhead);
  };
  EXPECT_EQ(gathers(), 1) << "greedy";
  params.temperature = 1;
  EXPECT_EQ(gathers(), 1) << "unfiltered";
  params.top_p = 0.9f;
  EXPECT_EQ(gathers(), 8) << "a nucleus";
}

// What runs ahead is decided by the sequences alone, so that all ranks decide alike.
TEST_F(CudaSamplerTest, WhoMayBeSampledAhead) {
  cuda::Stream stream;
  cuda::StepInputs inputs;
  const cuda::DeviceMemory last_tokens(3 * sizeof(int32_t));
  const SamplerShape shape{3, 100, 0, 100, 20, 1};
  const auto sampler = cuda::MakeCudaSampler(shape, stream, {&inputs, last_tokens.As<int32_t>()});
  const auto waiting = cuda::MakeCudaSampler(shape, stream);
  const std::vector<int32_t> prompt = {1, 2};
  const auto may = [&](Sampler& of, const SamplingParams& params) {
    of.BeginSequence(1, params, prompt, 2);
    const std::vector<int32_t> slots = {1};
    const bool answer = of.CanSampleAhead(slots);
    of.EndSequence(1);
    return answer;
  };
  SamplingParams params;
  EXPECT_TRUE(may(*sampler, params));
  EXPECT_FALSE(may(*waiting, params));
  params.top_k = 20;
  EXPECT_TRUE(may(*sampler, params)) << "greedy";
  params.temperature = 0.6f;
  EXPECT_FALSE(may(*sampler, params)) << "a cut by number";
  params.top_k = 100;
  EXPECT_TRUE(may(*sampler, params)) << "no cut at all";
  for (const int32_t slot : {-1, 0, 3}) {
    EXPECT_FALSE(sampler->CanSampleAhead(std::vector<int32_t>{slot})) << slot;
  }
  sampler->BeginSequence(0, {}, prompt, 2);
  sampler->MaskNextToken(0, std::vector<uint32_t>(4, 1));
  EXPECT_FALSE(sampler->CanSampleAhead(std::vector<int32_t>{0})) << "a mask";
}

}  // namespace
}  // namespace skein::test
