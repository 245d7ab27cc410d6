// Matrix products through cuBLASLt with cached plans. The one place that includes cublasLt.h.
#pragma once

#include <cstdint>
#include <memory>

#include "core/tensor.h"
#include "cuda/stream.h"

namespace skein::cuda {

// How an algorithm is found for a product.
enum class BlasChoice : uint8_t {
  // What cuBLASLt's heuristic gives for the class of rows.
  kHeuristic,
  // For up to 256 rows the fastest of a few when the class is first met outside of a graph's
  // capture: perhaps another one on the next start. For more, as kHeuristic.
  kTimed,
  // One for a weight's shape, which takes rows a tile at a time: a row's bits do not depend on how
  // many rows there are.
  kFixed,
};

class BlasLt {
 public:
  // Beyond so many rows cuBLASLt's own first choice is taken: runs one by one, as they are timed
  // here, chose slower ones (the down product of 1,024 rows took 411 us instead of 378).
  static constexpr int64_t kMaxTimedRows = 256;

  // Takes its workspace once. Afterwards Reserve() allocates, and timing, which gives it back.
  BlasLt(Stream& stream, BlasChoice choice);
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  // Room for a fixed algorithm's tiles of products with weights [m, k]; before the first of them.
  // True when memory moved: what was recorded with it is void.
  bool Reserve(int64_t k, int64_t m);

  // out [n, m] = x [n, k] weight^T + bias; weight [m, k] bfloat16, x bfloat16, out bfloat16 or
  // float32. bias [m] in out's type, or null. float32 accumulation.
  void Product(const Matrix& x, const Matrix& weight, const void* bias, const Matrix& out);
  // out += x weight^T. Not with a fixed algorithm, and not with so few rows that one is timed.
  void AddProduct(const Matrix& x, const Matrix& weight, const Matrix& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skein::cuda
