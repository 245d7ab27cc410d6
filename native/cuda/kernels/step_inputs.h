// What a recorded step gets from the host, moved by one kernel.
#pragma once

#include <cstddef>

#include "cuda/stream.h"

namespace skein::cuda {

constexpr int kMostInputs = 4;

// Bytes in pinned memory of the host, which the device reads itself; both places at multiples of
// 16, whole words of 4.
struct StepInput {
  void* device;
  const void* host;
  size_t bytes;
};

struct StepInputList {
  StepInput inputs[kMostInputs];
  int count;
};

// Starts when the work before has ended, since kernels read positions before they wait.
void CopyInputs(const StepInputList& list, Stream& stream);

}  // namespace skein::cuda
