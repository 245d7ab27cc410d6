#include "cuda/call_counter.h"

#include <cstring>

namespace skein::cuda {

CallCounter::CallCounter() {
  std::memset(host_.data(), 0, host_.bytes());
  SKEIN_CUDA(cudaMemset(count_.data(), 0, count_.bytes()));
  SKEIN_CUDA(cudaStreamSynchronize(nullptr));
}

}  // namespace skein::cuda
