// A copy engine takes some microseconds between two kernels for the few kilobytes of a step; a
// kernel that reads the host's memory itself takes one trip over the bus.
#include <algorithm>

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/step_inputs.h"

namespace skein::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kMostBlocks = 32;

// Grid (part, input). Neither lets the next kernel start nor waits: it is launched plainly.
__global__ void __launch_bounds__(kThreads)
    CopyInputsKernel(const __grid_constant__ StepInputList list) {
  const StepInput& input = list.inputs[blockIdx.y];
  const size_t first = static_cast<size_t>(blockIdx.x) * kThreads + threadIdx.x;
  const size_t step = static_cast<size_t>(gridDim.x) * kThreads;
  const size_t vectors = input.bytes / sizeof(uint4), words = input.bytes / sizeof(uint32_t);
  // Past all caches: the host has written there since the last step.
  for (size_t i = first; i < vectors; i += step) {
    static_cast<uint4*>(input.device)[i] = __ldcv(static_cast<const uint4*>(input.host) + i);
  }
  for (size_t i = vectors * 4 + first; i < words; i += step) {
    static_cast<uint32_t*>(input.device)[i] = __ldcv(static_cast<const uint32_t*>(input.host) + i);
  }
}

}  // namespace

void CopyInputs(const StepInputList& list, Stream& stream) {
  size_t most = 0;
  for (int i = 0; i < list.count; ++i) most = std::max(most, list.inputs[i].bytes);
  if (most == 0) return;
  const size_t blocks = (most / sizeof(uint4) + kThreads - 1) / kThreads;
  LaunchPlain(CopyInputsKernel,
              dim3(static_cast<unsigned>(std::clamp(blocks, size_t{1}, kMostBlocks)),
                   static_cast<unsigned>(list.count)),
              dim3(kThreads), 0, stream, list);
}

}  // namespace skein::cuda
