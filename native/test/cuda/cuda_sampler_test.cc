// The sampler on the device beside the CPU's over the same logits: the same tokens, the same
// log-probabilities and the same adjusted logits, to the bit.
#include "cuda/cuda_sampler.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/thread_pool.h"
#include "cpu/host_logits.h"
#include "cuda/device_copy.h"
#include "cuda/device_logits.h"
#include "cuda/device_memory.h"
#include "test/cuda/device_sampler_harness.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

using cuda::CopyAndWait;
using cuda::DeviceMemory;

// All parameters, ties, banned and infinite logits, empty ranks, sequences that begin anew.
TEST_F(CudaSamplerTest, SmallVocabularies) {
  std::mt19937_64 random(11);
  const int64_t sizes[] = {1, 2, 31, 33, 330, 2049, 5003};
  for (int round = 0; round < Times(250, 12); ++round) {
    const Steps steps = MakeSteps(sizes[random() % 7], 1 + random() % 5, 4, random);
    for (const int world_size : WorldSizes({1, 2, 4})) {
      ExpectTheHostsBits(steps, world_size, Format("round %d", round));
      if (HasFailure()) return;
    }
  }
}

// A top-k of every size about the tiles' 32 tokens, the sort's powers of two and the most that is
// listed, with and without ties.
TEST_F(CudaSamplerTest, EveryNumberOfCandidates) {
  std::mt19937_64 random(12);
  for (const int32_t top_k : {1, 2, 31, 32, 33, 127, 128, 129, 255, 511, 513, 1023, 1024, 1025}) {
    SamplingParams params;
    params.temperature = 0.9f;
    params.top_k = top_k;
    params.seed = static_cast<uint64_t>(top_k);
    params.num_top_logprobs = 20;
    std::vector<std::vector<float>> rows;
    for (const Kind kind : {Kind::kNormal, Kind::kFewValues, Kind::kEqual, Kind::kSpecial}) {
      rows.push_back(MakeLogits(kind, 40001, random));
    }
    // One tile holds far more of the best than any other.
    rows.push_back(rows[0]);
    for (size_t i = 20000; i < 22500; ++i) rows.back()[i] += 100;
    for (const int world_size : WorldSizes({1, 4})) {
      ExpectTheHostsBits(OneStep(params, rows), world_size, Format("top-k %d", top_k));
      if (HasFailure()) return;
    }
  }
}

// Penalties over a long output and more biased tokens than a tile holds, some of them twice.
TEST_F(CudaSamplerTest, PenaltiesBiasesAndBansOverManySteps) {
  std::mt19937_64 random(13);
  constexpr int64_t kVocab = 600;
  Steps steps = MakeSteps(kVocab, 4, static_cast<size_t>(Times(40, 5)), random);
  for (Sequence& s : steps.sequences) {
    s.params.repetition_penalty = 1.05f;
    s.params.presence_penalty = 0.3f;
    s.params.frequency_penalty = 0.7f;
    s.params.temperature = 0.6f;
    s.params.min_tokens = static_cast<int32_t>(s.token_ids.size() + 20);
    for (int i = 0; i < 300; ++i) {
      s.params.logit_bias_ids.push_back(static_cast<int32_t>(random() % kVocab));
      s.params.logit_bias_values.push_back(static_cast<float>(random() % 1000) / 333);
    }
    for (int i = 0; i < 30; ++i) {
      s.params.stop_token_ids.push_back(static_cast<int32_t>(random() % kVocab));
    }
  }
  for (const int world_size : WorldSizes({1, 2, 3}))
    ExpectTheHostsBits(steps, world_size, "many steps");
}

// Masks of a step's rows, some of which have none, with all else that is asked of a row. Parts of
// the vocabulary begin at ids that are no multiple of a mask's word.
TEST_F(CudaSamplerTest, MaskedRows) {
  std::mt19937_64 random(17);
  const int64_t sizes[] = {1, 31, 33, 330, 2049, 5003, 40001};
  const uint64_t percents[] = {0, 1, 50, 99};
  for (int round = 0; round < Times(120, 8); ++round) {
    Steps steps = MakeSteps(sizes[random() % 7], 1 + random() % 5, 3, random);
    for (size_t n = 0; n < steps.logits.size(); ++n) {
      steps.allowed.emplace_back(steps.sequences.size());
      for (auto& allowed : steps.allowed[n]) {
        if (random() % 4 == 0) continue;
        allowed = RandomAllowed(steps.vocab_size, percents[random() % 4], random);
      }
    }
    for (const int world_size : WorldSizes({1, 2, 4})) {
      ExpectTheHostsBits(steps, world_size, Format("round %d", round));
      if (HasFailure()) return;
    }
  }
}

// The models' vocabulary, their recommended settings and what else is asked of it.
TEST_F(CudaSamplerTest, TheModelsVocabulary) {
  std::mt19937_64 random(14);
  constexpr int64_t kVocab = 151674;
  Steps steps = MakeSteps(kVocab, 6, 2, random);
  for (size_t i = 0; i < steps.sequences.size(); ++i) {
    SamplingParams& params = steps.sequences[i].params;
    params = SamplingParams();
    params.seed = random();
    params.temperature = i == 1 ? 0.0f : 0.6f;
    params.top_p = i == 2 ? 1.0f : 0.95f;
    params.repetition_penalty = 1.05f;
    params.num_top_logprobs = i == 3 ? 20 : 0;
    params.top_k = i == 4 ? 1000 : 0;
    for (int t = 0; t < 1500; ++t) {
      steps.sequences[i].token_ids.push_back(static_cast<int32_t>(random() % kVocab));
    }
    steps.sequences[i].num_prompt_tokens = 1400;
  }
  for (auto& rows : steps.logits) {
    // The last row's nucleus is far larger than the candidates.
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = RandomLogits(kVocab, random, i == 5 ? 0.5f : 4.0f);
    }
  }
  for (const int world_size : WorldSizes({1, 2, 4}))
    ExpectTheHostsBits(steps, world_size, "151,674 tokens");
}

// What a source answers, not only what is chosen by it: masses are integers, the same in every
// unit.
TEST_F(CudaSamplerTest, FindingsAreTheHosts) {
  std::mt19937_64 random(16);
  cuda::Stream stream;
  const auto alone = MakeLocalGroup(1);
  ThreadPool pool(1);
  constexpr size_t kRows = 4;
  constexpr int64_t kCount = 9001, kCandidates = 300;
  const SamplerShape shape{kRows, 20000, 777, kCount, 20, 1};
  const auto host_source = MakeHostLogits(shape, pool);
  const auto device_source = cuda::MakeDeviceLogits(shape, stream);
  constexpr size_t kBlockBytes = FindingOffset(kRows) + kRows * kCandidates * sizeof(Candidate);
  int compared = 0;
  for (int round = 0; round < 25; ++round) {
    std::vector<SequenceState> states(kRows);
    std::vector<RowRequest> requests(kRows);
    std::vector<float> host;
    for (size_t i = 0; i < kRows; ++i) {
      const Sequence s = RandomSequence(shape.vocab_size, random);
      states[i].Begin(s.params, s.token_ids, s.num_prompt_tokens, shape);
      device_source->BeginSequence(static_cast<int32_t>(i));
      RowRequest& request = requests[i];
      request.state = &states[i];
      request.slot = static_cast<int32_t>(i);
      request.best = static_cast<BestKind>(random() % 3);
      request.needs_model_mass = random() % 4 != 0;
      request.needs_scaled_mass = random() % 4 != 0;
      request.inverse_temperature = 0.5f + static_cast<float>(random() % 20) / 10;
      request.num_candidates = static_cast<int64_t>(random() % (kCandidates + 1));
      request.candidates_offset = FindingOffset(kRows) + i * kCandidates * sizeof(Candidate);
      const auto row = MakeLogits(RandomKind(random), kCount, random);
      host.insert(host.end(), row.begin(), row.end());
    }
    const DeviceMemory memory(host.size() * sizeof(float));
    CopyAndWait(memory.data(), host.data(), memory.bytes());
    const std::byte* expected = host_source->Examine(
        MakeMatrix(host.data(), DType::kFloat32, kRows, kCount), requests, kBlockBytes, *alone[0]);
    const std::byte* actual =
        device_source->Examine(MakeMatrix(memory.data(), DType::kFloat32, kRows, kCount), requests,
                               kBlockBytes, *alone[0]);
    for (size_t i = 0; i < kRows; ++i) {
      SCOPED_TRACE(Format("round %d, row %zu", round, i));
      RowFinding a, b;
      std::memcpy(&a, expected + FindingOffset(i), sizeof(a));
      std::memcpy(&b, actual + FindingOffset(i), sizeof(b));
      EXPECT_EQ(a.max_logit, b.max_logit);
      EXPECT_EQ(a.best.id, b.best.id);
      EXPECT_EQ(a.best.value, b.best.value);
      EXPECT_EQ(a.model_mass, b.model_mass);
      EXPECT_EQ(a.scaled_mass, b.scaled_mass);
      EXPECT_EQ(std::memcmp(expected + requests[i].candidates_offset,
                            actual + requests[i].candidates_offset,
                            static_cast<size_t>(requests[i].num_candidates) * sizeof(Candidate)),
                0);
      compared += a.scaled_mass > (Mass{1} << 43) ? 1 : 0;
    }
    if (HasFailure()) return;
  }
  // Rows of which more than one token counts.
  EXPECT_GT(compared, 20);
}

// Where the ranks need no common maximum first, one all-gather a step; none at world size 1. Rows
// that are wide take one for each digit that the cut needs, and one for the choice.
TEST_F(CudaSamplerTest, StepsTakeFewGathers) {
  std::mt19937_64 random(15);
  const auto gathers = [&](const SamplingParams& params, int world_size, float scale) {
    return ExpectTheHostsBits(
        OneStep(params, {RandomLogits(4000, random, scale), RandomLogits(4000, random, scale)}),
        world_size, "gathers");
  };
  SamplingParams params;
  EXPECT_EQ(gathers(params, 2, 3), 1) << "greedy";
  EXPECT_EQ(gathers(params, 1, 3), 0) << "greedy alone";
  params.temperature = 1;
  params.top_k = 40;
  EXPECT_EQ(gathers(params, 2, 3), 1) << "top-k";
  params.top_k = 0;
  params.top_p = 0.9f;
  EXPECT_EQ(gathers(params, 2, 6), 2) << "top-p within the candidates";
  EXPECT_EQ(gathers(params, 2, 0.1f), 6) << "top-p beyond the candidates";
  EXPECT_EQ(gathers(params, 1, 0.1f), 0) << "top-p beyond the candidates, alone";
  params.top_k = 2000;
  EXPECT_EQ(gathers(params, 2, 3), 8) << "a large top-k, then top-p";
}

}  // namespace
}  // namespace skein::test
