// Time of the sampler by kind of sampling. A few rounds as a test; more with SKEIN_BENCH_ROUNDS.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "test/rank_group.h"
#include "test/sampler_harness.h"

namespace skein::test {
namespace {

// Microseconds of a row of 151,936 logits on one thread, world size 1. A few rounds as a test; more
// with SKEIN_BENCH_ROUNDS.
TEST(CpuSamplerBenchmark, OneRow) {
  const char* text = std::getenv("SKEIN_BENCH_ROUNDS");
  const int rounds = text == nullptr ? 3 : std::max(1, std::atoi(text));
  std::mt19937_64 random(8);
  SamplingParams params;
  const auto measure = [&](const char* name, float scale) {
    Step step;
    step.vocab_size = 151936;
    step.sequences.resize(1);
    step.sequences[0].params = params;
    step.logits.push_back(RandomLogits(step.vocab_size, random, scale));
    std::vector<int64_t> times;
    RunThreads(1, [&](Communicator& communicator) {
      ThreadPool pool(1);
      const auto sampler = MakeCpuSampler(ShapeOf(step, {0, step.vocab_size}), pool);
      BeginAll(*sampler, step);
      const std::vector<int32_t> slots = {0};
      std::vector<SampledToken> out;
      for (int round = 0; round < rounds; ++round) {
        auto row = step.logits[0];
        const auto start = std::chrono::steady_clock::now();
        sampler->Sample(MakeMatrix(row.data(), DType::kFloat32, 1, step.vocab_size), slots,
                        communicator, &out);
        const auto end = std::chrono::steady_clock::now();
        times.push_back(std::chrono::nanoseconds(end - start).count());
      }
    });
    ASSERT_EQ(times.size(), static_cast<size_t>(rounds));
    std::sort(times.begin(), times.end());
    std::printf("[          ] %-36s %8.1f us\n", name,
                static_cast<double>(times[times.size() / 2]) / 1e3);
  };
  measure("greedy", 3);
  params.num_top_logprobs = 20;
  measure("greedy, 20 log-probabilities", 3);
  params = {};
  params.temperature = 1;
  measure("temperature 1, peaked logits", 5);
  measure("temperature 1, flat logits", 0.5f);
  params.top_k = 50;
  params.top_p = 0.9f;
  measure("top-k 50, top-p 0.9", 3);
  params.top_k = 0;
  measure("top-p 0.9, peaked logits", 5);
  measure("top-p 0.9, flat logits (all gathered)", 0.5f);
}

}  // namespace
}  // namespace skein::test
