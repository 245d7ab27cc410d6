#include "cuda/upload_stream.h"

#include "cuda/kernels/convert.h"

namespace skein::cuda {

UploadStream::UploadStream() {
  SKEIN_CUDA(cudaEventCreateWithFlags(&order_, cudaEventDisableTiming));
  for (Buffer& buffer : buffers_) {
    SKEIN_CUDA(cudaEventCreateWithFlags(&buffer.sent, cudaEventDisableTiming));
  }
}

UploadStream::~UploadStream() {
  cudaStreamSynchronize(stream_.ForDriver());
  for (const Buffer& buffer : buffers_) cudaEventDestroy(buffer.sent);
  cudaEventDestroy(order_);
}

char* UploadStream::NextBuffer() {
  Buffer& buffer = buffers_[current_];
  if (buffer.host.bytes() == 0) buffer.host = PinnedMemory(kBufferBytes);
  // An event that was never recorded counts as passed.
  SKEIN_CUDA(cudaEventSynchronize(buffer.sent));
  return buffer.host.data();
}

void UploadStream::Send(const Matrix& rows, const Matrix& dest) {
  Buffer& buffer = buffers_[current_];
  const size_t bytes = static_cast<size_t>(rows.rows) * rows.RowBytes();
  SKEIN_CHECK(rows.data == buffer.host.data() && rows.stride == rows.cols && bytes <= kBufferBytes,
              "rows that are not those of the buffer");
  SKEIN_CHECK(rows.rows == dest.rows && rows.cols == dest.cols, "rows of another shape");
  if (rows.type == dest.type && dest.stride == dest.cols) {
    SKEIN_CUDA(
        cudaMemcpyAsync(dest.data, rows.data, bytes, cudaMemcpyHostToDevice, stream_.ForDriver()));
  } else if (rows.type == dest.type) {
    SKEIN_CUDA(cudaMemcpy2DAsync(dest.data, static_cast<size_t>(dest.stride) * SizeOf(dest.type),
                                 rows.data, rows.RowBytes(), rows.RowBytes(),
                                 static_cast<size_t>(rows.rows), cudaMemcpyHostToDevice,
                                 stream_.ForDriver()));
  } else {
    if (buffer.raw.bytes() == 0) buffer.raw = DeviceMemory(kBufferBytes);
    SKEIN_CUDA(cudaMemcpyAsync(buffer.raw.data(), rows.data, bytes, cudaMemcpyHostToDevice,
                               stream_.ForDriver()));
    ConvertRows(MakeMatrix(buffer.raw.data(), rows.type, rows.rows, rows.cols), dest, stream_);
  }
  SKEIN_CUDA(cudaEventRecord(buffer.sent, stream_.ForDriver()));
  current_ = (current_ + 1) % kNumBuffers;
}

void UploadStream::Clear(const Matrix& tensor) {
  SKEIN_CUDA(cudaMemsetAsync(tensor.data, 0, static_cast<size_t>(tensor.rows) * tensor.RowBytes(),
                             stream_.ForDriver()));
}

void UploadStream::Wait() { stream_.Synchronize(); }

void UploadStream::OrderBefore(Stream& stream) {
  SKEIN_CUDA(cudaEventRecord(order_, stream_.ForDriver()));
  SKEIN_CUDA(cudaStreamWaitEvent(stream.ForDriver(), order_, 0));
}

}  // namespace skein::cuda
