#include "cuda/float8_workspace.h"

#include "cuda/cuda_check.h"

namespace skein::cuda {

Float8Workspace::Float8Workspace(ProductWorkspace& products) : products_(products) {
  if (products.device().has_warpgroups) return;
  int device = 0;
  cudaDeviceProp properties{};
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaGetDeviceProperties(&properties, device));
  throw Error("UNSUPPORTED_MODEL",
              Format("FP8: %s (sm_%d%d): the CUDA back end multiplies float8 weights on Hopper "
                     "(sm_90) only",
                     properties.name, properties.major, properties.minor));
}

}  // namespace skein::cuda
