// Every rank runs the same steps twice: with the CPU's sampler, and with the device's over a stream
// of its own.
#include "test/cuda/device_sampler_harness.h"

#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "cuda/cuda_sampler.h"
#include "cuda/device_copy.h"
#include "cuda/step_inputs.h"
#include "test/rank_group.h"

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
  void AllReduce(void*, int64_t, DType, ReduceOp, DeviceStream*) override {
    SKEIN_CHECK(false, "not a gather");
  }
  void Broadcast(void*, size_t, int, DeviceStream*) override { SKEIN_CHECK(false, "not a gather"); }
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override {
    ++calls;
    auto& on_device = *static_cast<cuda::Stream*>(stream);
    on_device.Synchronize();
    std::vector<const void*> sent(static_cast<size_t>(world_size()));
    host_.AllGather(&send, sent.data(), sizeof(send), nullptr);
    for (size_t r = 0; r < sent.size(); ++r) {
      SKEIN_CUDA(cudaMemcpyAsync(static_cast<char*>(receive) + r * bytes, sent[r], bytes,
                                 cudaMemcpyDeviceToDevice, on_device.ForDriver()));
    }
    on_device.Synchronize();
    Meet(host_);
  }
  void Abort() override { host_.Abort(); }
  int64_t TakeWaitNanoseconds() override { return 0; }

  int calls = 0;

 private:
  Communicator& host_;
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
    for (size_t i = 0; n < steps.allowed.size() && i < slots.size(); ++i) {
      const std::vector<bool>& allowed = steps.allowed[n][i];
      if (!allowed.empty()) sampler.MaskNextToken(slots[i], MaskOf(allowed, part));
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

// What the device says of its own time is more than nothing, and less than a minute.
void ExpectTime(Sampler& sampler, const Part& part, const Steps& steps) {
  const int64_t told_ns = sampler.TakeDeviceNanoseconds();
  EXPECT_LT(told_ns, int64_t{60} * 1'000'000'000);
  if (part.count > 0 && !steps.logits.empty()) {
    EXPECT_GT(told_ns, 0);
  }
  EXPECT_EQ(sampler.TakeDeviceNanoseconds(), 0) << "taken";
}

// `shift`: floats between the beginning of the memory and the first row, so that rows begin at
// every alignment.
Outcome RunOnDevice(const Steps& steps, const Part& part, Communicator& host, int64_t shift) {
  cuda::Stream stream;
  DeviceCommunicator communicator(host);
  const auto sampler =
      cuda::MakeCudaSampler(ShapeOf(steps, part, communicator.world_size()), stream);
  Outcome outcome = RunSteps(
      steps, part, *sampler,
      [&](std::vector<float>& rows, int64_t stride, std::span<const int32_t> slots,
          std::vector<SampledToken>* out) {
        const DeviceMemory memory((rows.size() + static_cast<size_t>(shift)) * sizeof(float));
        float* device = memory.As<float>() + shift;
        const size_t bytes = rows.size() * sizeof(float);
        SKEIN_CUDA(cudaMemcpyAsync(device, rows.data(), bytes, cudaMemcpyHostToDevice,
                                   stream.ForDriver()));
        sampler->Sample(
            MakeMatrix(device, DType::kFloat32, static_cast<int64_t>(slots.size()), stride), slots,
            communicator, out);
        SKEIN_CUDA(cudaMemcpyAsync(rows.data(), device, bytes, cudaMemcpyDeviceToHost,
                                   stream.ForDriver()));
        stream.Synchronize();
      });
  outcome.gathers = communicator.calls;
  ExpectTime(*sampler, part, steps);
  return outcome;
}

// The same without waiting: a step is collected when the one behind it has been started, unless a
// sequence begins anew there. What it samples goes only by what the device itself remembers.
Outcome RunAhead(const Steps& steps, const Part& part, Communicator& host) {
  cuda::Stream stream;
  cuda::StepInputs inputs;
  DeviceCommunicator communicator(host);
  const SamplerShape shape = ShapeOf(steps, part, communicator.world_size());
  const DeviceMemory last_tokens(static_cast<size_t>(shape.max_sequences) * sizeof(int32_t));
  const auto sampler = cuda::MakeCudaSampler(shape, stream, {&inputs, last_tokens.As<int32_t>()});
  Outcome outcome;
  std::vector<Sequence> sequences = steps.sequences;
  std::vector<int32_t> slots;
  for (size_t i = 0; i < sequences.size(); ++i) {
    slots.push_back(static_cast<int32_t>(sequences.size() + 1 - i));
    sampler->BeginSequence(slots[i], sequences[i].params, sequences[i].token_ids,
                           sequences[i].num_prompt_tokens);
  }
  const int64_t stride = part.count + kPadding;
  std::vector<DeviceMemory> kept;
  const auto collect = [&] {
    std::vector<SampledToken> tokens;
    sampler->Collect(&tokens);
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].token_ids.push_back(tokens[i].token_id);
    }
    outcome.tokens.push_back(std::move(tokens));
  };
  size_t num_started = 0;
  for (size_t n = 0; n < steps.logits.size(); ++n) {
    if (num_started > 0 && !steps.begun_anew[n].empty()) {
      collect();
      num_started = 0;
    }
    for (const size_t i : steps.begun_anew[n]) {
      sampler->EndSequence(slots[i]);
      sampler->BeginSequence(slots[i], sequences[i].params, sequences[i].token_ids,
                             sequences[i].num_prompt_tokens);
    }
    std::vector<float> rows;
    for (const auto& row : steps.logits[n]) {
      rows.insert(rows.end(), row.begin() + part.start, row.begin() + part.start + part.count);
      rows.insert(rows.end(), kPadding, 1e30f);
    }
    kept.emplace_back(rows.size() * sizeof(float));
    cuda::CopyAndWait(kept.back().data(), rows.data(), kept.back().bytes());
    SKEIN_CHECK(sampler->CanSampleAhead(slots), "a step that cannot run ahead");
    sampler->PrepareAhead(slots, communicator.world_size());
    inputs.Send(true, stream);
    sampler->SampleAhead(
        MakeMatrix(kept.back().data(), DType::kFloat32, static_cast<int64_t>(slots.size()), stride),
        communicator);
    if (++num_started < 2) continue;
    collect();
    num_started = 1;
  }
  if (num_started > 0) collect();
  for (size_t n = 0; n < kept.size(); ++n) {
    outcome.adjusted.emplace_back(kept[n].bytes() / sizeof(float));
    cuda::CopyAndWait(outcome.adjusted[n].data(), kept[n].data(), kept[n].bytes());
  }
  ExpectTime(*sampler, part, steps);
  outcome.gathers = communicator.calls;
  return outcome;
}

}  // namespace

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

int ExpectTheHostsBits(const Steps& steps, int world_size, const std::string& what, Way way) {
  const auto parts = CutVocabulary(steps.vocab_size, world_size);
  std::vector<Outcome> host(parts.size()), device(parts.size());
  const auto errors = RunThreads(world_size, [&](Communicator& communicator) {
    const auto rank = static_cast<size_t>(communicator.rank());
    host[rank] = RunOnHost(steps, parts[rank], communicator);
    device[rank] = way == Way::kAhead
                       ? RunAhead(steps, parts[rank], communicator)
                       : RunOnDevice(steps, parts[rank], communicator, communicator.rank());
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

Kind RandomKind(std::mt19937_64& random) {
  const Kind kinds[] = {Kind::kNormal, Kind::kNormal,  Kind::kFewValues,
                        Kind::kEqual,  Kind::kSpecial, Kind::kHuge};
  return kinds[random() % 6];
}

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

Steps MakeSteps(int64_t vocab_size, size_t num_sequences, size_t num_steps, std::mt19937_64& random,
                uint64_t begins_anew_in) {
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
      if (n > 0 && random() % begins_anew_in == 0) steps.begun_anew[n].push_back(i);
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

}  // namespace skein::test
