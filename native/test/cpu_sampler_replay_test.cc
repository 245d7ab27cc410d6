// What a sampler remembers of its sequences' earlier steps decides nothing: one that goes through
// many steps, beside one that begins every sequence anew before each.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "core/error.h"
#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "test/rank_group.h"
#include "test/sampler_harness.h"

namespace skein::test {
namespace {

using LogitsOfSteps = std::vector<std::vector<std::vector<float>>>;  // by step and sequence

void ExpectReplaysGoOn(const Step& step, const LogitsOfSteps& logits) {
  for (const int world_size : {1, 3}) {
    const auto parts = CutVocabulary(step.vocab_size, world_size);
    const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
      const Part part = parts[static_cast<size_t>(communicator.rank())];
      Step current = step;
      ThreadPool pool(1);
      const auto whole = MakeCpuSampler(ShapeOf(step, part), pool);
      const auto replayed = MakeCpuSampler(ShapeOf(step, part), pool);
      BeginAll(*whole, current);
      for (size_t n = 0; n < logits.size(); ++n) {
        current.logits = logits[n];
        // `replayed` knows only what `current` has recorded so far.
        BeginAll(*replayed, current);
        const auto wanted = SampleOnce(*whole, current, part, communicator);
        const auto got = SampleOnce(*replayed, current, part, communicator);
        for (size_t i = 0; i < wanted.size(); ++i) {
          SKEIN_CHECK(wanted[i].token_id == got[i].token_id, "step %zu row %zu", n, i);
          SKEIN_CHECK(SameBits(wanted[i].top_logprobs, got[i].top_logprobs), "step %zu", n);
          current.sequences[i].token_ids.push_back(wanted[i].token_id);
        }
      }
    });
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
}

// A sequence that is interrupted after some tokens and begun again with them goes on as if it had
// not been.
TEST(CpuSamplerReplay, ReplayAfterPreemptionGivesTheSameContinuation) {
  std::mt19937_64 random(4);
  Step step;
  step.vocab_size = 200;
  for (int i = 0; i < 8; ++i) {
    step.sequences.push_back(RandomSequence(200, random));
    step.sequences.back().params.min_tokens = 15;
    step.logits.emplace_back();
  }
  LogitsOfSteps logits(30);
  for (auto& rows : logits) {
    for (size_t i = 0; i < 8; ++i) rows.push_back(RandomLogits(200, random, 2));
  }
  ExpectReplaysGoOn(step, logits);
}

// After some rows whose candidates did not hold the nucleus none are asked for. What is chosen does
// not depend on it, whether such rows go on or end.
TEST(CpuSamplerReplay, RowsThatAreThoughtWideGiveTheSameTokens) {
  std::mt19937_64 random(5);
  Step step;
  step.vocab_size = 3000;
  for (int i = 0; i < 4; ++i) {
    step.sequences.push_back(RandomSequence(step.vocab_size, random));
    SamplingParams& params = step.sequences.back().params;
    params.temperature = 0.9f, params.top_k = 0, params.top_p = i == 3 ? 1.0f : 0.95f;
    params.min_p = i >= 2 ? 0.02f : 0, params.num_top_logprobs = i % 2 == 0 ? 0 : 5;
    step.logits.emplace_back();
  }
  LogitsOfSteps logits(24);
  for (size_t n = 0; n < logits.size(); ++n) {
    const bool is_narrow = n == 1 || n == 7 || n >= 20;
    for (int i = 0; i < 4; ++i) {
      logits[n].push_back(RandomLogits(step.vocab_size, random, is_narrow ? 8.0f : 0.4f));
    }
  }
  ExpectReplaysGoOn(step, logits);
}

}  // namespace
}  // namespace skein::test
