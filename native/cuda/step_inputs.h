// What the host gives a recorded step before it begins: gathered by those who write it, sent in one
// launch.
#pragma once

#include "core/error.h"
#include "cuda/kernels/step_inputs.h"
#include "cuda/stream.h"

namespace skein::cuda {

class StepInputs {
 public:
  // `host` is pinned, and stays as it is until the step has read it: at least until the step behind
  // the next one begins.
  void Add(void* device, const void* host, size_t bytes) {
    SKEIN_CHECK(list_.count < kMostInputs && bytes % 4 == 0, "%d inputs, one of %zu bytes",
                list_.count, bytes);
    list_.inputs[list_.count++] = {device, host, bytes};
  }
  // Of a step that is recorded already, or else runs kernel by kernel: then a fence follows, since
  // its kernels read some of this before they wait. Returns whether there was anything.
  bool Send(bool is_recorded, Stream& stream) {
    if (list_.count == 0) return false;
    CopyInputs(list_, stream);
    if (!is_recorded) stream.Fence();
    list_.count = 0;
    return true;
  }
  // What a step that failed has left.
  void Clear() { list_.count = 0; }

 private:
  StepInputList list_{};
};

}  // namespace skein::cuda
