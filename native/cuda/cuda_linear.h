// Linears in device memory: dense bfloat16, float8 and AWQ int4.
#pragma once

#include <memory>

#include "cuda/blas_lt.h"
#include "cuda/device_arena.h"
#include "cuda/device_memory.h"
#include "cuda/stream.h"
#include "ops/backend.h"

namespace skein::cuda {

class AwqWorkspace;
class Float8Workspace;
class ProductWorkspace;

class CudaLinear : public PreparedLinear {
 public:
  // out = x W^T + bias, without activation.
  virtual void Run(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const = 0;
  // Outputs are gate | up: out [rows, out_features / 2] = silu(gate) * up in one kernel. False,
  // with nothing done, where there is none for these rows and weights.
  virtual bool RunSwiGlu([[maybe_unused]] const Matrix& x, [[maybe_unused]] const Matrix& out,
                         [[maybe_unused]] Stream& stream) const {
    return false;
  }
  // out = gelu(x W^T + bias), exact (erf) form, bfloat16: by a pass over the outputs of Run, unless
  // there is a kernel for both that is faster.
  virtual void RunGelu(const Matrix& x, const Matrix& out, BlasLt& blas, Stream& stream) const;
  // residual [rows, out_features], float32, += scale * (x W^T + bias); bias and scale
  // [out_features] float32, each may be null. False, with nothing done, as above.
  virtual bool RunAdded(const Matrix& x, const float* bias, const float* scale,
                        const Matrix& residual, BlasLt& blas, Stream& stream) const = 0;
};

// Weights lie in `arena`, which must outlive the linear; a weight that lies there already is
// adopted. Copies wait: loading, not serving. `workspace` is shared by all linears of a back end
// and has room for any wide product; in deterministic mode the BlasLt that runs it has reserved
// room.
std::unique_ptr<CudaLinear> MakeDenseLinear(const RawLinear& raw, DeviceArena& arena,
                                            const ProductWorkspace& workspace);
// `workspace` is shared by all AWQ linears of a back end and has room for this one.
std::unique_ptr<CudaLinear> MakeAwqLinear(const RawLinear& raw, DeviceArena& arena,
                                          AwqWorkspace& workspace, Stream& stream);

// `workspace` is shared by all float8 linears of a back end and has room for their inputs. Hopper
// only.
std::unique_ptr<CudaLinear> MakeFloat8Linear(const RawLinear& raw, DeviceArena& arena,
                                             Float8Workspace& workspace, Stream& stream);

}  // namespace skein::cuda
