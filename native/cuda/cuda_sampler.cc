// Logits come to the host, where the CPU sampler chooses; its exchanges between ranks go through
// the device, where NCCL lives.
#include "cuda/cuda_sampler.h"

#include <cstring>

#include "cpu/cpu_sampler.h"
#include "cuda/device_memory.h"

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

class HostSampler final : public Sampler {
 public:
  HostSampler(const SamplerShape& shape, cudaStream_t stream)
      : stream_(stream), host_(MakeCpuSampler(shape)) {}

  void BeginSequence(int32_t slot, const SamplingParams& params, std::span<const int32_t> token_ids,
                     int64_t num_prompt_tokens) override {
    host_->BeginSequence(slot, params, token_ids, num_prompt_tokens);
  }
  void EndSequence(int32_t slot) override { host_->EndSequence(slot); }

  void Sample(const Matrix& logits, std::span<const int32_t> slots, Communicator& communicator,
              std::vector<SampledToken>* out) override {
    const size_t row_bytes = static_cast<size_t>(logits.cols) * sizeof(float);
    const size_t bytes = row_bytes * static_cast<size_t>(logits.rows);
    if (pinned_.bytes() < bytes) pinned_ = PinnedMemory(bytes * 2);
    SKEIN_CUDA(cudaMemcpy2DAsync(
        pinned_.data(), row_bytes, logits.data, static_cast<size_t>(logits.stride) * sizeof(float),
        row_bytes, static_cast<size_t>(logits.rows), cudaMemcpyDeviceToHost, stream_));
    SKEIN_CUDA(cudaStreamSynchronize(stream_));
    HostStagedCommunicator staged(communicator, stream_, &exchange_);
    host_->Sample(MakeMatrix(pinned_.data(), DType::kFloat32, logits.rows, logits.cols), slots,
                  staged, out);
  }

 private:
  cudaStream_t stream_;
  std::unique_ptr<Sampler> host_;
  PinnedMemory pinned_;
  DeviceMemory exchange_;
};

}  // namespace

std::unique_ptr<Sampler> MakeCudaSampler(const SamplerShape& shape, cudaStream_t stream) {
  return std::make_unique<HostSampler>(shape, stream);
}

}  // namespace skein::cuda
