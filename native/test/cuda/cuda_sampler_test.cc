// The sampler on the device beside the CPU's over the same logits: the same tokens, the same
// log-probabilities and the same adjusted logits, to the bit. Ranks are threads of one process that
// share the device.
#include "cuda/cuda_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "core/error.h"
#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "cpu/host_logits.h"
#include "cuda/device_logits.h"
#include "cuda/device_memory.h"
#include "test/rank_group.h"
#include "test/sampler_harness.h"

namespace skein::test {
namespace {

using cuda::DeviceMemory;

// Gathers device buffers between the ranks of a local group by plain copies; counts the calls.
class DeviceCommunicator final : public Communicator {
 public:
  explicit DeviceCommunicator(Communicator& host) : host_(host) {}
  int rank() const override { return host_.rank(); }
  int world_size() const override { return host_.world_size(); }
  const char* kind() const override { return "device copies"; }
  void AllReduce(void*, int64_t, DType, ReduceOp, void*) override {
    SKEIN_CHECK(false, "not a gather");
  }
  void Broadcast(void*, size_t, int, void*) override { SKEIN_CHECK(false, "not a gather"); }
  void AllGather(const void* send, void* receive, size_t bytes, void* stream) override {
    ++calls;
    const auto on_device = static_cast<cudaStream_t>(stream);
    SKEIN_CUDA(cudaStreamSynchronize(on_device));
    std::vector<const void*> sent(static_cast<size_t>(world_size()));
    host_.AllGather(&send, sent.data(), sizeof(send), nullptr);
    for (size_t r = 0; r < sent.size(); ++r) {
      SKEIN_CUDA(cudaMemcpyAsync(static_cast<char*>(receive) + r * bytes, sent[r], bytes,
                                 cudaMemcpyDeviceToDevice, on_device));
    }
    SKEIN_CUDA(cudaStreamSynchronize(on_device));
    host_.Barrier();
  }
  void Barrier() override { host_.Barrier(); }
  void Abort() override { host_.Abort(); }
  int64_t TakeWaitNanoseconds() override { return 0; }

  int calls = 0;

 private:
  Communicator& host_;
};

class Stream {
 public:
  Stream() { SKEIN_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Steps of the same sequences in the same slots; some begin anew before some steps.
struct Steps {
  int64_t vocab_size = 0;
  std::vector<Sequence> sequences;
  // By step and row.
  std::vector<std::vector<std::vector<float>>> logits;
  std::vector<std::vector<size_t>> begun_anew;
};

struct Outcome {
  std::vector<std::vector<SampledToken>> tokens;  // by step
  std::vector<std::vector<float>> adjusted;       // by step, of the rank's rows
  int gathers = 0;
};

// Padding columns of a row; they would win if they counted.
constexpr int64_t kPadding = 5;

SamplerShape ShapeOf(const Steps& steps, const Part& part, int world_size) {
  return {static_cast<int64_t>(steps.sequences.size()) + 3,
          steps.vocab_size,
          part.start,
          part.count,
          20,
          world_size};
}

// sample(rows, stride, slots, out): samples from and adjusts the rank's rows in place.
Outcome RunSteps(const Steps& steps, const Part& part, Sampler& sampler,
                 const std::function<void(std::vector<float>&, int64_t, std::span<const int32_t>,
                                          std::vector<SampledToken>*)>& sample) {
  Outcome outcome;
  std::vector<Sequence> sequences = steps.sequences;
  std::vector<int32_t> slots;
  // Not from slot 0 on, and in descending order.
  for (size_t i = 0; i < sequences.size(); ++i) {
    slots.push_back(static_cast<int32_t>(sequences.size() + 1 - i));
  }
  const auto begin = [&](size_t i) {
    const Sequence& s = sequences[i];
    sampler.BeginSequence(slots[i], s.params, s.token_ids, s.num_prompt_tokens);
  };
  for (size_t i = 0; i < sequences.size(); ++i) begin(i);
  const int64_t stride = part.count + kPadding;
  for (size_t n = 0; n < steps.logits.size(); ++n) {
    for (const size_t i : steps.begun_anew[n]) {
      sampler.EndSequence(slots[i]);
      begin(i);
    }
    std::vector<float> rows;
    for (const auto& row : steps.logits[n]) {
      rows.insert(rows.end(), row.begin() + part.start, row.begin() + part.start + part.count);
      rows.insert(rows.end(), kPadding, 1e30f);
    }
    std::vector<SampledToken> tokens;
    sample(rows, stride, slots, &tokens);
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].token_ids.push_back(tokens[i].token_id);
    }
    outcome.tokens.push_back(tokens);
    outcome.adjusted.push_back(rows);
  }
  return outcome;
}

Outcome RunOnHost(const Steps& steps, const Part& part, Communicator& communicator) {
  ThreadPool pool(1);
  const auto sampler = MakeCpuSampler(ShapeOf(steps, part, communicator.world_size()), pool);
  return RunSteps(steps, part, *sampler,
                  [&](std::vector<float>& rows, int64_t stride, std::span<const int32_t> slots,
                      std::vector<SampledToken>* out) {
                    sampler->Sample(MakeMatrix(rows.data(), DType::kFloat32,
                                               static_cast<int64_t>(slots.size()), stride),
                                    slots, communicator, out);
                  });
}

// `shift`: floats between the beginning of the memory and the first row, so that rows begin at
// every alignment.
Outcome RunOnDevice(const Steps& steps, const Part& part, Communicator& host, int64_t shift) {
  const Stream stream;
  DeviceCommunicator communicator(host);
  const auto sampler =
      cuda::MakeCudaSampler(ShapeOf(steps, part, communicator.world_size()), stream.get());
  Outcome outcome = RunSteps(
      steps, part, *sampler,
      [&](std::vector<float>& rows, int64_t stride, std::span<const int32_t> slots,
          std::vector<SampledToken>* out) {
        const DeviceMemory memory((rows.size() + static_cast<size_t>(shift)) * sizeof(float));
        float* device = memory.As<float>() + shift;
        const size_t bytes = rows.size() * sizeof(float);
        SKEIN_CUDA(
            cudaMemcpyAsync(device, rows.data(), bytes, cudaMemcpyHostToDevice, stream.get()));
        sampler->Sample(
            MakeMatrix(device, DType::kFloat32, static_cast<int64_t>(slots.size()), stride), slots,
            communicator, out);
        SKEIN_CUDA(
            cudaMemcpyAsync(rows.data(), device, bytes, cudaMemcpyDeviceToHost, stream.get()));
        SKEIN_CUDA(cudaStreamSynchronize(stream.get()));
      });
  outcome.gathers = communicator.calls;
  return outcome;
}

// Returns the number of all-gathers of rank 0.
int ExpectTheHostsBits(const Steps& steps, int world_size, const std::string& what) {
  const auto parts = CutVocabulary(steps.vocab_size, world_size);
  std::vector<Outcome> host(parts.size()), device(parts.size());
  const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
    const auto rank = static_cast<size_t>(communicator.rank());
    host[rank] = RunOnHost(steps, parts[rank], communicator);
    device[rank] = RunOnDevice(steps, parts[rank], communicator, communicator.rank());
  });
  for (const std::string& error : errors) EXPECT_EQ(error, "") << what;
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    EXPECT_EQ(host[rank].tokens.size(), steps.logits.size()) << what;
    EXPECT_EQ(device[rank].tokens.size(), steps.logits.size()) << what;
    for (size_t n = 0; n < device[rank].tokens.size(); ++n) {
      SCOPED_TRACE(Format("%s, rank %zu of %d, step %zu", what.c_str(), rank, world_size, n));
      for (size_t i = 0; i < steps.sequences.size(); ++i) {
        ExpectSame(device[rank].tokens[n][i], host[0].tokens[n][i]);
      }
      EXPECT_TRUE(SameBits(device[rank].adjusted[n], host[rank].adjusted[n]));
      if (::testing::Test::HasFailure()) return 0;
    }
  }
  return device[0].gathers;
}

enum class Kind { kNormal, kFewValues, kEqual, kSpecial, kHuge };

std::vector<float> MakeLogits(Kind kind, int64_t count, std::mt19937_64& random) {
  std::vector<float> logits =
      RandomLogits(count, random, 0.1f + static_cast<float>(random() % 60) / 10);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float specials[] = {std::nanf(""), kInfinity, -kInfinity, 0.0f,
                            -0.0f,         3e38f,     -3e38f,     1e-42f};
  for (float& x : logits) {
    switch (kind) {
      case Kind::kNormal:
        break;
      case Kind::kFewValues:
        x = std::round(x);
        break;
      case Kind::kEqual:
        x = -2.5f;
        break;
      case Kind::kSpecial:
        if (random() % 3 == 0) x = specials[random() % 8];
        break;
      case Kind::kHuge:
        x *= 1e37f;
        break;
    }
  }
  return logits;
}

Kind RandomKind(std::mt19937_64& random) {
  const Kind kinds[] = {Kind::kNormal, Kind::kNormal,  Kind::kFewValues,
                        Kind::kEqual,  Kind::kSpecial, Kind::kHuge};
  return kinds[random() % 6];
}

Steps MakeSteps(int64_t vocab_size, size_t num_sequences, size_t num_steps,
                std::mt19937_64& random) {
  Steps steps;
  steps.vocab_size = vocab_size;
  for (size_t i = 0; i < num_sequences; ++i) {
    steps.sequences.push_back(RandomSequence(vocab_size, random));
  }
  for (size_t n = 0; n < num_steps; ++n) {
    steps.logits.emplace_back();
    steps.begun_anew.emplace_back();
    for (size_t i = 0; i < num_sequences; ++i) {
      steps.logits[n].push_back(MakeLogits(RandomKind(random), vocab_size, random));
      if (n > 0 && random() % 4 == 0) steps.begun_anew[n].push_back(i);
    }
  }
  return steps;
}

Steps OneStep(const SamplingParams& params, std::vector<std::vector<float>> rows) {
  Steps steps;
  steps.vocab_size = static_cast<int64_t>(rows[0].size());
  steps.sequences.resize(rows.size());
  for (Sequence& s : steps.sequences) s.params = params;
  steps.logits.push_back(std::move(rows));
  steps.begun_anew.emplace_back();
  return steps;
}

class CudaSamplerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
  }
};

// All parameters, ties, banned and infinite logits, empty ranks, sequences that begin anew.
TEST_F(CudaSamplerTest, SmallVocabularies) {
  std::mt19937_64 random(11);
  const int64_t sizes[] = {1, 2, 31, 33, 330, 2049, 5003};
  for (int round = 0; round < 250; ++round) {
    const Steps steps = MakeSteps(sizes[random() % 7], 1 + random() % 5, 4, random);
    for (const int world_size : {1, 2, 4}) {
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
    for (const int world_size : {1, 4}) {
      ExpectTheHostsBits(OneStep(params, rows), world_size, Format("top-k %d", top_k));
      if (HasFailure()) return;
    }
  }
}

// Penalties over a long output and more biased tokens than a tile holds, some of them twice.
TEST_F(CudaSamplerTest, PenaltiesBiasesAndBansOverManySteps) {
  std::mt19937_64 random(13);
  constexpr int64_t kVocab = 600;
  Steps steps = MakeSteps(kVocab, 4, 40, random);
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
  for (const int world_size : {1, 2, 3}) ExpectTheHostsBits(steps, world_size, "many steps");
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
  for (const int world_size : {1, 2, 4}) ExpectTheHostsBits(steps, world_size, "151,674 tokens");
}

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
      {1, 0, 0, 0},
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

TEST_F(CudaSamplerTest, WideRows) {
  std::mt19937_64 random(17);
  for (const int64_t vocab_size : {330, 5000}) {
    for (int round = 0; round < 3; ++round) {
      const Steps steps = MakeWideSteps(vocab_size, random);
      for (const int world_size : {1, 2, 3, 4}) {
        ExpectTheHostsBits(steps, world_size, Format("%d tokens", static_cast<int>(vocab_size)));
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(CudaSamplerTest, WideRowsOfTheModelsVocabulary) {
  std::mt19937_64 random(18);
  const Steps steps = MakeWideSteps(151674, random);
  for (const int world_size : {1, 2, 3, 4}) {
    ExpectTheHostsBits(steps, world_size, "151,674 tokens");
    if (HasFailure()) return;
  }
}

// What a source answers, not only what is chosen by it: masses are integers, the same in every
// unit.
TEST_F(CudaSamplerTest, FindingsAreTheHosts) {
  std::mt19937_64 random(16);
  const Stream stream;
  const auto alone = MakeLocalGroup(1);
  ThreadPool pool(1);
  constexpr size_t kRows = 4;
  constexpr int64_t kCount = 9001, kCandidates = 300;
  const SamplerShape shape{kRows, 20000, 777, kCount, 20, 1};
  const auto host_source = MakeHostLogits(shape, pool);
  const auto device_source = cuda::MakeDeviceLogits(shape, stream.get());
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
    SKEIN_CUDA(cudaMemcpy(memory.data(), host.data(), memory.bytes(), cudaMemcpyHostToDevice));
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
// that are wide take one for each digit of the cut and one for the choice.
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
  EXPECT_EQ(gathers(params, 2, 0.1f), 8) << "top-p beyond the candidates";
  EXPECT_EQ(gathers(params, 1, 0.1f), 0) << "top-p beyond the candidates, alone";
  params.top_k = 2000;
  EXPECT_EQ(gathers(params, 2, 3), 12) << "a large top-k, then top-p";
}

}  // namespace
}  // namespace skein::test
