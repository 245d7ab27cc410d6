// A linear of the CPU back end, whatever the format of its weights.
#pragma once

#include "core/thread_pool.h"
#include "ops/backend.h"

namespace skein::cpu {

class CpuLinear : public PreparedLinear {
 public:
  // What Multiply needs.
  virtual size_t ScratchBytes() const = 0;
  // out [n, out] float32 = act(x [n, in] float32 * W^T + bias). `scratch` holds ScratchBytes().
  virtual void Multiply(const Matrix& x, Activation activation, const Matrix& out, ThreadPool& pool,
                        void* scratch) const = 0;
};

}  // namespace skein::cpu
