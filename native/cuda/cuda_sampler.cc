// Rows that only need their best token are judged on the device; the logits of the others come to
// the host. The CPU sampler does the rest; its exchanges between ranks go through the device, where
// NCCL lives.
#include "cuda/cuda_sampler.h"

#include <algorithm>
#include <cstring>

#include "core/thread_pool.h"
#include "cpu/cpu_sampler.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/sampling.h"

namespace skein::cuda {
namespace {

// Lets host buffers take part in the device's collectives: in by copy, out by copy, then wait.
class HostStagedCommunicator final : public Communicator {
 public:
  HostStagedCommunicator(Communicator& device, cudaStream_t stream, DeviceMemory* memory)
      : device_(device), stream_(stream), memory_(memory) {}

  int rank() const override { return device_.rank(); }
  int world_size() const override { return device_.world_size(); }
  const char* kind() const override { return device_.kind(); }

  void AllReduce(void* data, int64_t count, DType type, ReduceOp op, void*) override {
    const size_t bytes = static_cast<size_t>(count) * SizeOf(type);
    char* staged = Reserve(bytes);
    SKEIN_CUDA(cudaMemcpyAsync(staged, data, bytes, cudaMemcpyHostToDevice, stream_));
    device_.AllReduce(staged, count, type, op, stream_);
    Fetch(data, staged, bytes);
  }
  void AllGather(const void* send, void* receive, size_t bytes, void*) override {
    if (world_size() == 1) {
      if (send != receive) std::memcpy(receive, send, bytes);
      return;
    }
    const size_t all = bytes * static_cast<size_t>(world_size());
    char* staged = Reserve(bytes + all);
    SKEIN_CUDA(cudaMemcpyAsync(staged + all, send, bytes, cudaMemcpyHostToDevice, stream_));
    device_.AllGather(staged + all, staged, bytes, stream_);
    Fetch(receive, staged, all);
  }
  void Broadcast(void* data, size_t bytes, int root, void*) override {
    char* staged = Reserve(bytes);
    SKEIN_CUDA(cudaMemcpyAsync(staged, data, bytes, cudaMemcpyHostToDevice, stream_));
    device_.Broadcast(staged, bytes, root, stream_);
    Fetch(data, staged, bytes);
  }
  void Barrier() override { device_.Barrier(); }
  void Abort() override { device_.Abort(); }
  int64_t TakeWaitNanoseconds() override { return device_.TakeWaitNanoseconds(); }

 private:
  char* Reserve(size_t bytes) {
    if (memory_->bytes() < bytes) *memory_ = DeviceMemory(bytes * 2);
    return memory_->As<char>();
  }
  void Fetch(void* host, const char* staged, size_t bytes) {
    SKEIN_CUDA(cudaMemcpyAsync(host, staged, bytes, cudaMemcpyDeviceToHost, stream_));
    SKEIN_CUDA(cudaStreamSynchronize(stream_));
  }

  Communicator& device_;
  cudaStream_t stream_;
  DeviceMemory* memory_;
};

class DeviceLogits final : public LogitsSource {
 public:
  explicit DeviceLogits(cudaStream_t stream) : stream_(stream) {}

  void Read(const Matrix& logits, int64_t count, int32_t first_id,
            std::span<const BestRequest> requests, std::span<BestFinding> findings,
            std::span<const int64_t> whole, std::span<float*> fetched) override {
    const int chunks = NumBestChunks(count, first_id);
    const size_t request_bytes = requests.size() * sizeof(BestRow);
    const size_t part_bytes = requests.size() * static_cast<size_t>(chunks) * sizeof(BestPart);
    const size_t row_bytes = static_cast<size_t>(count) * sizeof(float);
    if (pinned_.bytes() < request_bytes + part_bytes + whole.size() * row_bytes) {
      pinned_ = PinnedMemory(2 * (request_bytes + part_bytes + whole.size() * row_bytes));
    }
    if (device_.bytes() < request_bytes + part_bytes) {
      device_ = DeviceMemory(2 * (request_bytes + part_bytes));
    }
    // Parts first: they need the wider alignment.
    auto* parts = reinterpret_cast<BestPart*>(pinned_.data());
    auto* rows = reinterpret_cast<BestRow*>(pinned_.data() + part_bytes);
    char* copies = pinned_.data() + part_bytes + request_bytes;
    if (!requests.empty()) {
      for (size_t i = 0; i < requests.size(); ++i) {
        const BestRequest& request = requests[i];
        rows[i] = {request.key.seed,         request.key.position,        request.row,
                   request.key.choice_index, request.inverse_temperature, request.is_greedy};
      }
      auto* device_rows = reinterpret_cast<BestRow*>(device_.As<char>() + part_bytes);
      SKEIN_CUDA(
          cudaMemcpyAsync(device_rows, rows, request_bytes, cudaMemcpyHostToDevice, stream_));
      FindBest(logits.As<const float>(), logits.stride, count, first_id, device_rows,
               static_cast<int>(requests.size()), device_.As<BestPart>(), stream_);
      SKEIN_CUDA(
          cudaMemcpyAsync(parts, device_.data(), part_bytes, cudaMemcpyDeviceToHost, stream_));
    }
    for (size_t i = 0; i < whole.size(); ++i) {
      fetched[i] = reinterpret_cast<float*>(copies + i * row_bytes);
      SKEIN_CUDA(cudaMemcpyAsync(fetched[i], logits.As<const float>() + whole[i] * logits.stride,
                                 row_bytes, cudaMemcpyDeviceToHost, stream_));
    }
    SKEIN_CUDA(cudaStreamSynchronize(stream_));
    for (size_t i = 0; i < requests.size(); ++i) {
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const BestPart& part = parts[i * static_cast<size_t>(chunks) + static_cast<size_t>(chunk)];
        TakeHigher(findings[i].best, {part.value, part.logit, part.id});
        findings[i].max_logit = std::max(findings[i].max_logit, part.max_logit);
      }
    }
  }

 private:
  cudaStream_t stream_;
  PinnedMemory pinned_;
  DeviceMemory device_;
};

// For rows whose filters or log-probabilities need the whole vocabulary.
constexpr int kHostThreads = 4;

class CudaSampler final : public Sampler {
 public:
  CudaSampler(const SamplerShape& shape, cudaStream_t stream)
      : stream_(stream),
        pool_(kHostThreads),
        logits_(stream),
        sampler_(MakeSamplerOver(shape, pool_, &logits_)) {}

  void BeginSequence(int32_t slot, const SamplingParams& params, std::span<const int32_t> token_ids,
                     int64_t num_prompt_tokens) override {
    sampler_->BeginSequence(slot, params, token_ids, num_prompt_tokens);
  }
  void EndSequence(int32_t slot) override { sampler_->EndSequence(slot); }

  void Sample(const Matrix& logits, std::span<const int32_t> slots, Communicator& communicator,
              std::vector<SampledToken>* out) override {
    HostStagedCommunicator staged(communicator, stream_, &exchange_);
    sampler_->Sample(logits, slots, staged, out);
  }

 private:
  cudaStream_t stream_;
  ThreadPool pool_;
  DeviceLogits logits_;
  std::unique_ptr<Sampler> sampler_;
  DeviceMemory exchange_;
};

}  // namespace

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, cudaStream_t stream) {
  return std::make_unique<CudaSampler>(shape, stream);
}

}  // namespace skein::cuda
