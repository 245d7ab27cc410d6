// Steps of a sampler under test: random ones, cut over the ranks of a local group, run on all of
// them.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "ops/backend.h"
#include "test/plain_sampler.h"

namespace skein::test {

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
std::vector<Part> CutVocabulary(int64_t vocab_size, int world_size);
SamplerShape ShapeOf(const Step& step, const Part& part);
// The mask of the rank's part.
std::vector<uint32_t> MaskOf(const std::vector<bool>& allowed, const Part& part);
// Begins the step's sequences in slots 0, 1, ...
void BeginAll(Sampler& sampler, const Step& step);
// The rank's rows get 5 columns of padding that would win if they counted.
std::vector<SampledToken> SampleOnce(Sampler& sampler, const Step& step, const Part& part,
                                     Communicator& communicator);
// A new sampler on each rank, and one step. Expects the same of every rank.
std::vector<SampledToken> SampleStep(const Step& step, int world_size, int num_threads = 1);
// What one rank samples; expects the same of two to four.
std::vector<SampledToken> SampleAtEveryWorldSize(const Step& step);

bool SameBits(const std::vector<float>& a, const std::vector<float>& b);
void ExpectSame(const SampledToken& a, const SampledToken& b);

std::vector<float> RandomLogits(int64_t count, std::mt19937_64& random, float scale);
Sequence RandomSequence(int64_t vocab_size, std::mt19937_64& random);
// So many in a hundred are allowed, at least one.
std::vector<bool> RandomAllowed(int64_t vocab_size, uint64_t percent, std::mt19937_64& random);
Step RandomStep(std::mt19937_64& random);

}  // namespace skein::test
