// Steps of a sampler on the device beside the CPU's over the same logits. Ranks are threads of one
// process that share the device.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "collective/communicator.h"
#include "cuda/device_memory.h"
#include "test/cuda/under_checker.h"
#include "test/sampler_harness.h"

namespace skein::test {

// Steps of the same sequences in the same slots; some begin anew before some steps.
struct Steps {
  int64_t vocab_size = 0;
  std::vector<Sequence> sequences;
  // By step and row.
  std::vector<std::vector<std::vector<float>>> logits;
  std::vector<std::vector<size_t>> begun_anew;
  // By step and row: the tokens that may be chosen; empty: all. Steps beyond its size have no
  // masks.
  std::vector<std::vector<std::vector<bool>>> allowed;
};

struct Outcome {
  std::vector<std::vector<SampledToken>> tokens;  // by step
  std::vector<std::vector<float>> adjusted;       // by step, of the rank's rows
  int gathers = 0;
};

// Whether the host waits for each step's tokens, or only for those of the step but one before.
enum class Way { kWaiting, kAhead };

Outcome RunOnHost(const Steps& steps, const Part& part, Communicator& communicator);
// Expects the same tokens, log-probabilities and adjusted logits of every rank, to the bit. Returns
// the number of all-gathers of rank 0.
int ExpectTheHostsBits(const Steps& steps, int world_size, const std::string& what,
                       Way way = Way::kWaiting);

enum class Kind { kNormal, kFewValues, kEqual, kSpecial, kHuge };

Kind RandomKind(std::mt19937_64& random);
std::vector<float> MakeLogits(Kind kind, int64_t count, std::mt19937_64& random);
// Whatever may be asked of so many sequences, over logits of all kinds. Before each step but the
// first, one sequence in `begins_anew_in` begins anew.
Steps MakeSteps(int64_t vocab_size, size_t num_sequences, size_t num_steps, std::mt19937_64& random,
                uint64_t begins_anew_in = 4);
Steps OneStep(const SamplingParams& params, std::vector<std::vector<float>> rows);

// Skips where there is no device.
class CudaSamplerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
  }
};

}  // namespace skein::test
