// Loads, stores and barriers in shared memory: thin names for instructions. sm_80 and newer.
#pragma once

#include <cstdint>

namespace skein::cuda {

__device__ __forceinline__ uint4 LoadShared(uint32_t shared) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(shared)
               : "memory");
  return v;
}
__device__ __forceinline__ uint32_t LoadShared4(uint32_t shared) {
  uint32_t v;
  asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(v) : "r"(shared) : "memory");
  return v;
}
__device__ __forceinline__ void StoreShared(uint32_t shared, const uint4& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};\n" ::"r"(shared), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

// Barriers in shared memory (8 bytes): a phase ends when all that are expected have arrived.
__device__ __forceinline__ void InitBarrier(uint32_t barrier, int expected) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(barrier), "r"(expected) : "memory");
}
__device__ __forceinline__ void Arrive(uint32_t barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}\n" ::"r"(barrier)
               : "memory");
}
__device__ __forceinline__ bool HasEnded(uint32_t barrier, int phase) {
  uint32_t done;
  asm volatile(
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n"
#else
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
#endif
      "selp.b32 %0, 1, 0, p;\n}\n"
      : "=r"(done)
      : "r"(barrier), "r"(phase & 1)
      : "memory");
  return done != 0;
}
// Until phase `phase`, counted from 0, has ended. The one after it must not have.
__device__ __forceinline__ void AwaitPhase(uint32_t barrier, int phase) {
  while (!HasEnded(barrier, phase)) {
  }
}

}  // namespace skein::cuda
