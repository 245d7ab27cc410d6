// Matrix products through cuBLASLt with cached plans. The one place that includes cublasLt.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>

#include "core/tensor.h"

namespace skein::cuda {

class BlasLt {
 public:
  // Takes its workspace once; no allocation afterwards. `tunes`: each shape's algorithm is the
  // fastest of several when first met, which may be another one on the next start.
  BlasLt(cudaStream_t stream, bool tunes);
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
