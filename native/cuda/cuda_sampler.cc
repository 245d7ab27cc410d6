// What is asked of the logits and what their findings decide is the CPU sampler's; here they lie on
// the device. Host threads only look at rows whose candidates do not hold the nucleus.
#include "cuda/cuda_sampler.h"

#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "cuda/device_logits.h"

namespace skein::cuda {
namespace {

constexpr int kHostThreads = 4;

class CudaSampler final : public Sampler {
 public:
  CudaSampler(const SamplerShape& shape, cudaStream_t stream)
      : pool_(kHostThreads),
        sampler_(MakeSamplerOver(shape, pool_, MakeDeviceLogits(shape, stream))) {}

  void BeginSequence(int32_t slot, const SamplingParams& params, std::span<const int32_t> token_ids,
                     int64_t num_prompt_tokens) override {
    sampler_->BeginSequence(slot, params, token_ids, num_prompt_tokens);
  }
  void EndSequence(int32_t slot) override { sampler_->EndSequence(slot); }
  void Sample(const Matrix& logits, std::span<const int32_t> slots, Communicator& communicator,
              std::vector<SampledToken>* out) override {
    sampler_->Sample(logits, slots, communicator, out);
  }

 private:
  ThreadPool pool_;
  std::unique_ptr<Sampler> sampler_;
};

}  // namespace

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, cudaStream_t stream) {
  return std::make_unique<CudaSampler>(shape, stream);
}

}  // namespace skein::cuda
