// Weights on their way from files to the device: pinned buffers in turn, each copied, and where
// need be converted, on a stream of its own while the next are filled.
#pragma once

#include <cuda_runtime.h>

#include "cuda/device_memory.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

class UploadStream final : public WeightStream {
 public:
  UploadStream();
  ~UploadStream() override;
  UploadStream(const UploadStream&) = delete;
  UploadStream& operator=(const UploadStream&) = delete;

  size_t buffer_bytes() const override { return kBufferBytes; }
  char* NextBuffer() override;
  void Send(const Matrix& rows, const Matrix& dest) override;

  // Zeroes a tensor before what is sent to it later.
  void Clear(const Matrix& tensor);
  // Until all that was sent has arrived: on the host, or for work that is put on `stream` later.
  void Wait();
  void OrderBefore(Stream& stream);

 private:
  static constexpr size_t kBufferBytes = size_t{32} << 20;
  // One is read into, one is on its way, one gives room for unevenness.
  static constexpr int kNumBuffers = 3;

  struct Buffer {
    PinnedMemory host;
    DeviceMemory raw;  // what waits for its conversion; made when the first does
    cudaEvent_t sent = nullptr;
  };

  Stream stream_;
  cudaEvent_t order_ = nullptr;
  Buffer buffers_[kNumBuffers];
  int current_ = 0;
};

}  // namespace skein::cuda
