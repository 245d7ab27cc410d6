// Matrix products through cuBLASLt with cached plans. The one place that includes cublasLt.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "core/tensor.h"

namespace skein::cuda {

// How an algorithm is found for a product.
enum class BlasChoice : uint8_t {
  // What cuBLASLt's heuristic gives for the class of rows.
  kHeuristic,
  // The fastest of a few when the class is first met outside of a graph's capture: perhaps another
  // one on the next start.
  kTimed,
  // One for a weight's shape, whatever the number of rows: a row's bits do not depend on how many
  // rows there are.
  kFixed,
};

class BlasLt {
 public:
  // Takes its workspace once; no allocation on the device afterwards. Products of fewer than
  // `timed_rows` rows are never timed.
  BlasLt(cudaStream_t stream, BlasChoice choice, int64_t timed_rows);
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  // out [n, m] = x [n, k] weight^T + bias; weight [m, k] bfloat16, x bfloat16, out bfloat16 or
  // float32. bias [m] in out's type, or null. float32 accumulation.
  void Product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skein::cuda
