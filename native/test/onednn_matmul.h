// Matrix products by oneDNN: the yardstick of the CPU back end's own product kernels, used by the
// kernel benchmark and as a second opinion in tests. The only includer of oneDNN's headers is
// onednn_matmul.cc, which compiles against 2.6 and 3.x.
//
// Why no op runs on it (docs/cpu-kernels.md has the numbers): a row must have the same bits alone
// and among others, so one implementation serves all row counts of a type. For one row from memory
// oneDNN reaches 0.4 (float32) to 0.6 (bfloat16) of the speed of our kernels, for 256 rows the two
// are equal. On AVX-512 its bits do hold still, on AVX2 and AMX only with a padded row tile, and
// without AVX-512 it refuses bfloat16. With more ranks than cores its spinning OpenMP threads cost
// twentyfold.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "core/tensor.h"

namespace skein::test {

class OneDnnMatmul {
 public:
  // weight [out, in] float32, which must outlive this object; type is float32 or bfloat16. Throws
  // Error(UNSUPPORTED_MODEL) where oneDNN has no such product on this processor.
  OneDnnMatmul(const Matrix& weight, DType type, int num_threads);
  ~OneDnnMatmul();
  OneDnnMatmul(const OneDnnMatmul&) = delete;
  OneDnnMatmul& operator=(const OneDnnMatmul&) = delete;

  // "2.6.3".
  static std::string Version();

  // out [n, out] float32 = x [n, in] float32 * W^T. Starts and uses OpenMP threads of the calling
  // thread.
  void Multiply(const Matrix& x, const Matrix& out);
  // What oneDNN chose in the last call, e.g. "brg:avx512_core_bf16".
  std::string implementation() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skein::test
