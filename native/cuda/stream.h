// A CUDA stream, and the only ways to place work on it.
//
// Kernels of ours overlap (kernels/launch.cuh): each may let the next one start before it has
// ended, since each waits by itself before it touches what others write. What is not ours need not
// wait. NCCL 2.28.3 to 2.30.4 launches kernels programmatically that never do: they sent sums that
// were not yet written. So the stream hands out its handle by what will be placed with it, and puts
// a fence where the overlap must end. Nobody keeps a handle: test/tidy checks where they are used.
#pragma once

#include <cuda_runtime.h>

#include "core/device_stream.h"

namespace skein::cuda {

class CallCounter;

class Stream final : public DeviceStream {
 public:
  // On the current device; does not wait for the default stream.
  Stream();
  ~Stream();

  // For kernels of a library, which may be launched programmatically and wait for nothing: places a
  // fence, so that they start when all work before has ended. For one call; asked for again for the
  // next. With a counter the device counts the call when it begins; a recorded fence is then a
  // kernel too, 0.6 us longer.
  cudaStream_t ForLibrary(const CallCounter* counter = nullptr);
  // For what the driver keeps in order by itself, whatever the kernel in front allows: copies,
  // fills, events, graphs; and for kernels that are known to be launched plainly.
  cudaStream_t ForDriver() const { return stream_; }

  // What is placed next starts when all work before has ended, even where it would overlap.
  void Fence();

  // Until all work has ended.
  void Synchronize() const;
  // Whether what is placed is being recorded instead of run.
  bool IsCapturing() const;

 private:
  // Launches kernels of ours.
  friend class KernelLaunch;

  void FenceCapture() const;

  cudaStream_t stream_ = nullptr;
  // Whether launches on the device can overlap at all: from Hopper on.
  bool overlaps_ = false;
};

}  // namespace skein::cuda
