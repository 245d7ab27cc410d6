// Sampling steps at world size 1 over the models' vocabulary: wall time of Sample, which copies,
// launches, waits and chooses. Logits lie where the head left them; they are put back, untimed,
// before each step, since penalties change them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "cuda/cuda_sampler.h"
#include "cuda_bench.h"
#include "ops/backend.h"

namespace skein::cuda {
namespace {

constexpr int64_t kVocab = 151674, kStride = 151680, kMaxRows = 64;
constexpr int64_t kPromptTokens = 1400;
constexpr int kWarmUpSteps = 5, kSteps = 100;

struct Setting {
  const char* name;
  SamplingParams params;
  // Standard deviation of the logits: 4 leaves a nucleus of some tens, 0.5 one of most tokens, 0
  // makes all equal.
  float scale;
};

std::vector<Setting> Settings() {
  std::vector<Setting> settings(9);
  settings[0] = {"greedy", {}, 4};
  settings[1] = {"noise, no filter", {}, 4};
  settings[1].params.temperature = 1;
  settings[2] = {"recommended", {}, 4};
  settings[2].params.temperature = 0.6f;
  settings[2].params.top_p = 0.95f;
  settings[2].params.repetition_penalty = 1.05f;
  settings[3] = settings[2];
  settings[3].name = "recommended, 20 log-probabilities";
  settings[3].params.num_top_logprobs = 20;
  settings[4] = {"greedy, 20 log-probabilities", {}, 4};
  settings[4].params.num_top_logprobs = 20;
  settings[5] = {"top-k 1000", {}, 4};
  settings[5].params.temperature = 1;
  settings[5].params.top_k = 1000;
  settings[6] = settings[2];
  settings[6].name = "recommended, nucleus beyond the candidates";
  settings[6].scale = 0.5f;
  settings[7] = {"temperature 2, top-p 0.99, equal logits", {}, 0};
  settings[7].params.temperature = 2;
  settings[7].params.top_p = 0.99f;
  settings[8] = {"top-k 2000, then top-p", {}, 4};
  settings[8].params.temperature = 1;
  settings[8].params.top_k = 2000;
  settings[8].params.top_p = 0.95f;
  return settings;
}

class SamplerBench {
 public:
  explicit SamplerBench(Report& report)
      : report_(report),
        cpu_(MakeCpuBackend({})),
        shape_{kMaxRows, kVocab, 0, kVocab, 20, 1},
        cpu_sampler_(cpu_->MakeSampler(shape_)),
        sampler_(MakeCudaSampler(shape_, report.stream())),
        ranks_(MakeLocalGroup(1)),
        values_(static_cast<size_t>(kMaxRows * kStride)),
        original_(values_.size() * sizeof(float)),
        logits_(original_.bytes()) {}

  void Run(const Setting& setting, int64_t rows) {
    std::normal_distribution<float> normal(0, 1);
    const auto used = static_cast<size_t>(rows * kStride);
    for (size_t i = 0; i < used; ++i) values_[i] = setting.scale * normal(random_);
    SKEIN_CUDA(
        cudaMemcpy(original_.data(), values_.data(), used * sizeof(float), cudaMemcpyHostToDevice));
    std::vector<int32_t> slots;
    for (int32_t slot = 0; slot < rows; ++slot) {
      std::vector<int32_t> prompt(kPromptTokens);
      for (int32_t& id : prompt) id = static_cast<int32_t>(random_() % kVocab);
      SamplingParams params = setting.params;
      params.seed = random_();
      sampler_->BeginSequence(slot, params, prompt, kPromptTokens);
      cpu_sampler_->BeginSequence(slot, params, prompt, kPromptTokens);
      slots.push_back(slot);
    }
    // The first step against the CPU's, on the same numbers.
    std::vector<SampledToken> expected, sampled;
    cpu_sampler_->Sample({values_.data(), DType::kFloat32, rows, kVocab, kStride}, slots,
                         *ranks_[0], &expected);
    Step(slots, rows, &sampled);
    double wrong = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const bool is_same =
          sampled[i].token_id == expected[i].token_id &&
          sampled[i].top_ids == expected[i].top_ids &&
          std::memcmp(&sampled[i].logprob, &expected[i].logprob, sizeof(float)) == 0;
      wrong += is_same ? 0 : 1;
    }
    for (int i = 0; i < kWarmUpSteps; ++i) Step(slots, rows, &sampled);
    std::vector<double> times;
    for (int i = 0; i < kSteps; ++i) times.push_back(Step(slots, rows, &sampled));
    std::nth_element(times.begin(), times.begin() + kSteps / 2, times.end());
    report_.Print({"sampler", "151674, median step", setting.name, rows, times[kSteps / 2],
                   static_cast<double>(rows * kVocab) * sizeof(float),
                   wrong / static_cast<double>(rows)});
    for (const int32_t slot : slots) {
      sampler_->EndSequence(slot);
      cpu_sampler_->EndSequence(slot);
    }
  }

 private:
  // Microseconds of the step itself.
  double Step(const std::vector<int32_t>& slots, int64_t rows, std::vector<SampledToken>* out) {
    SKEIN_CUDA(cudaMemcpyAsync(logits_.data(), original_.data(),
                               static_cast<size_t>(rows * kStride) * sizeof(float),
                               cudaMemcpyDeviceToDevice, report_.stream().ForDriver()));
    report_.stream().Synchronize();
    const auto start = std::chrono::steady_clock::now();
    sampler_->Sample({logits_.data(), DType::kFloat32, rows, kVocab, kStride}, slots, *ranks_[0],
                     out);
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
        .count();
  }

  Report& report_;
  std::unique_ptr<Backend> cpu_;
  SamplerShape shape_;
  std::unique_ptr<Sampler> cpu_sampler_, sampler_;
  std::vector<std::unique_ptr<Communicator>> ranks_;
  std::mt19937_64 random_{21};
  std::vector<float> values_;
  DeviceMemory original_, logits_;
};

void BenchSampler(Report& report) {
  SamplerBench bench(report);
  for (const Setting& setting : Settings()) {
    for (const int64_t rows : {1, 16, 64}) bench.Run(setting, rows);
  }
}

const BenchRegistration kRegistration("sampler", &BenchSampler);

}  // namespace
}  // namespace skein::cuda
