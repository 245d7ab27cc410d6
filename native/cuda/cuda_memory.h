// The device's memory as the back end deals it out: an arena for weights, one for activations, one
// a KV cache; and the way of weights into it. What an arena holds goes with it as a whole.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cuda/cuda_storage.h"
#include "cuda/stream.h"
#include "cuda/upload_stream.h"

namespace skein::cuda {

class CudaMemory {
 public:
  // Work that uses the memory runs on `stream`.
  explicit CudaMemory(Stream& stream) : stream_(stream) {}

  // As those of Backend.
  void BeginLoad();
  void EndLoad();
  std::unique_ptr<DeviceTensor> NewWeight(DType type, int64_t rows, int64_t cols, TensorUse use);
  WeightStream* weight_stream() { return &upload(); }
  std::unique_ptr<DeviceTensor> Upload(const Matrix& host);
  std::unique_ptr<DeviceTensor> MakeRandomTensor(DType type, int64_t rows, int64_t cols,
                                                 std::span<const RandomBlock> blocks,
                                                 TensorUse use);
  std::unique_ptr<DeviceTensor> Allocate(DType type, int64_t rows, int64_t cols) {
    return std::make_unique<ArenaTensor>(activations_, type, rows, cols);
  }
  void ReleaseActivations() { activations_.Reset(); }
  std::unique_ptr<KvCache> AllocateKvCache(const KvCacheShape& shape, DType type) {
    return std::make_unique<CudaKvCache>(shape, type, &kv_bytes_);
  }

  DeviceArena& weights() { return weights_; }
  // What was sent for a linear is there for work that follows on the stream, and, where its weights
  // are not adopted, for any other.
  void AwaitWeightsOf(const RawLinear& raw);
  std::vector<float> Read(const Matrix& matrix) const;
  // All but the graphs.
  MemoryUse use() const;

 private:
  std::unique_ptr<DeviceTensor> NewTensor(DType type, int64_t rows, int64_t cols, TensorUse use);
  UploadStream& upload();

  Stream& stream_;
  DeviceArena weights_{"weights"};
  // Within pieces: what NCCL registers.
  DeviceArena activations_{"activations", DeviceArena::Packing::kWithinPieces};
  StagingArena staging_;
  int64_t kv_bytes_ = 0;
  std::unique_ptr<UploadStream> upload_;  // while loading
};

}  // namespace skein::cuda
