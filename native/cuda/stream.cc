#include "cuda/stream.h"

#include "cuda/cuda_check.h"
#include "cuda/kernels/fence.h"

namespace skein::cuda {

Stream::Stream() {
  int device = 0, major = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  overlaps_ = major >= 9;
  SKEIN_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Stream::~Stream() { cudaStreamDestroy(stream_); }

cudaStream_t Stream::ForLibrary(const CallCounter* counter) {
  // A fence kernel is launched plainly, so it starts when the work before has ended, and it lets
  // nothing start early.
  if (counter != nullptr) {
    PlaceFence(*this, counter);
  } else {
    Fence();
  }
  return stream_;
}

void Stream::Fence() {
  if (overlaps_) IsCapturing() ? FenceCapture() : PlaceFence(*this);
}

// A programmatic edge leads from kernel to kernel only. An empty node between them takes no time of
// its own.
void Stream::FenceCapture() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaGraph_t graph = nullptr;
  const cudaGraphNode_t* last = nullptr;
  size_t count = 0;
#if CUDART_VERSION >= 13000
  SKEIN_CUDA(cudaStreamGetCaptureInfo(stream_, &status, nullptr, &graph, &last, nullptr, &count));
#else
  SKEIN_CUDA(cudaStreamGetCaptureInfo_v2(stream_, &status, nullptr, &graph, &last, &count));
#endif
  if (count == 0) return;
  cudaGraphNode_t fence = nullptr;
  SKEIN_CUDA(cudaGraphAddEmptyNode(&fence, graph, last, count));
#if CUDART_VERSION >= 13000
  SKEIN_CUDA(cudaStreamUpdateCaptureDependencies(stream_, &fence, nullptr, 1,
                                                 cudaStreamSetCaptureDependencies));
#else
  SKEIN_CUDA(
      cudaStreamUpdateCaptureDependencies(stream_, &fence, 1, cudaStreamSetCaptureDependencies));
#endif
}

void Stream::Synchronize() const { SKEIN_CUDA(cudaStreamSynchronize(stream_)); }

bool Stream::IsCapturing() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  SKEIN_CUDA(cudaStreamIsCapturing(stream_, &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace skein::cuda
