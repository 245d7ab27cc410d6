// Loads, copies and barriers of the products of few rows: thin names for instructions.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skein::cuda::skinny {

// 16 bytes that are read once: no place in the L1 cache. Zeros, and nothing read, where not valid.
__device__ __forceinline__ uint4 LoadWeights(const __nv_bfloat16* place, bool valid) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n"
      "mov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4];\n}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(place), "r"(static_cast<int>(valid)));
  return v;
}

// 16 bytes of x, which other warps read again. After WaitForPrevious() only.
__device__ __forceinline__ uint4 LoadX(const __nv_bfloat16* place, bool valid) {
  uint4 v;
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %5, 0;\n"
      "mov.b32 %0, 0;\nmov.b32 %1, 0;\nmov.b32 %2, 0;\nmov.b32 %3, 0;\n"
      "@p ld.global.v4.b32 {%0,%1,%2,%3}, [%4];\n}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(place), "r"(static_cast<int>(valid))
      : "memory");
  return v;
}

__device__ __forceinline__ void CopyWeights(uint32_t shared, const __nv_bfloat16* place,
                                            bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(place),
               "r"(valid ? 16 : 0)
               : "memory");
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

__device__ __forceinline__ uint4 LoadShared(uint32_t shared) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(shared)
               : "memory");
  return v;
}
__device__ __forceinline__ void StoreShared(uint32_t shared, const uint4& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};\n" ::"r"(shared), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

__device__ __forceinline__ int ClusterSize() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t size;
  asm("mov.u32 %0, %%cluster_nctarank;\n" : "=r"(size));
  return static_cast<int>(size);
#else
  return 1;
#endif
}
__device__ __forceinline__ int ClusterRank() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
#else
  return 0;
#endif
}
__device__ __forceinline__ void ClusterBarrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;\n" ::: "memory");
#endif
}
// The place in the cluster's block `rank` that `shared` names in this one.
__device__ __forceinline__ uint32_t PlaceInBlock(uint32_t shared, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t place;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(place) : "r"(shared), "r"(rank));
  return place;
#else
  return shared;
#endif
}
__device__ __forceinline__ void StoreInBlock([[maybe_unused]] uint32_t place,
                                             [[maybe_unused]] const float4& v) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("st.shared::cluster.v4.f32 [%0], {%1,%2,%3,%4};\n" ::"r"(place), "f"(v.x), "f"(v.y),
               "f"(v.z), "f"(v.w)
               : "memory");
#endif
}

// Barriers in shared memory (8 bytes): a phase ends when all that are expected have arrived.
__device__ __forceinline__ void InitBarrier(uint32_t barrier, int expected) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(barrier), "r"(expected) : "memory");
}
__device__ __forceinline__ void Arrive(uint32_t barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}\n" ::"r"(barrier)
               : "memory");
}
__device__ __forceinline__ void ArriveInBlock([[maybe_unused]] uint32_t place) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];\n" ::"r"(place)
               : "memory");
#endif
}
// Until phase `phase`, counted from 0, has ended. The one after it must not have.
__device__ __forceinline__ bool HasEnded(uint32_t barrier, int phase) {
  uint32_t done;
  asm volatile(
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n"
#else
      "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
#endif
      "selp.b32 %0, 1, 0, p;\n}\n"
      : "=r"(done)
      : "r"(barrier), "r"(phase & 1)
      : "memory");
  return done != 0;
}

__device__ __forceinline__ void Add(float4& sum, const float4& part) {
  sum.x += part.x;
  sum.y += part.y;
  sum.z += part.z;
  sum.w += part.w;
}

__device__ __forceinline__ void AwaitPhase(uint32_t barrier, int phase) {
  while (!HasEnded(barrier, phase)) {
  }
}

}  // namespace skein::cuda::skinny
