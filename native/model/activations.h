// The activations of one engine: allocated once, when a model is loaded, and counted. Steps use the
// first rows of each.
#pragma once

#include <memory>
#include <vector>

#include "ops/backend.h"

namespace skein {

class Activations {
 public:
  explicit Activations(Backend& backend) : backend_(backend) {}

  // [rows, cols] of the back end's activation type.
  Matrix New(int64_t rows, int64_t cols) { return New(backend_.activation_type(), rows, cols); }
  // The same of its residual type.
  Matrix NewResidual(int64_t rows, int64_t cols) {
    return New(backend_.residual_type(), rows, cols);
  }
  Matrix New(DType type, int64_t rows, int64_t cols) {
    tensors_.push_back(backend_.Allocate(type, rows, cols));
    bytes_ += rows * cols * static_cast<int64_t>(SizeOf(type));
    return tensors_.back()->view();
  }
  int64_t bytes() const { return bytes_; }

 private:
  Backend& backend_;
  std::vector<std::unique_ptr<DeviceTensor>> tensors_;
  int64_t bytes_ = 0;
};

// The first `rows` rows of memory made by NewResidual, as partial sums that are to be reduced.
inline Matrix PartialRows(const Backend& backend, const Matrix& memory, int64_t rows,
                          const Communicator& communicator) {
  const DType type = backend.PartialType(rows, memory.cols, communicator.world_size());
  return MakeMatrix(memory.data, type, rows, memory.cols);
}

}  // namespace skein
