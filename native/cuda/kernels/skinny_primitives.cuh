// Copies of the products of few rows: thin names for instructions.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skein::cuda::skinny {

// 16 bytes to shared memory; zeros, and nothing read, where not valid. Weights are read once: no
// place in the L1 cache. `kLine`: the bytes that the memory is asked for with them, into the L2
// cache, where a warp's next units find the rest. Rows of x are read by all warps.
template <int kLine>
__device__ __forceinline__ void CopyWeights(uint32_t shared, const __nv_bfloat16* place,
                                            bool valid) {
  const int bytes = valid ? 16 : 0;
  if constexpr (kLine == 256) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;\n" ::"r"(shared),
                 "l"(place), "r"(bytes)
                 : "memory");
  } else {
    static_assert(kLine == 128);
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(shared),
                 "l"(place), "r"(bytes)
                 : "memory");
  }
}
__device__ __forceinline__ void CopyX(uint32_t shared, const __nv_bfloat16* place, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(place),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void Commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void Wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

}  // namespace skein::cuda::skinny
