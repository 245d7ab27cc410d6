// The words of packed AWQ weights (awq.h says their order).
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace skein::cuda {

// (bits & mask) | set, in one instruction: with both as constants two are made of it.
__device__ __forceinline__ uint32_t MaskAndSet(uint32_t bits, uint32_t mask, uint32_t set) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(result) : "r"(bits), "r"(mask), "r"(set));
  return result;
}

// Register p of an A fragment: nibbles p and p + 4 of a word as bfloat16 q - z; `zero` is 128 + z,
// twice. A nibble in the lowest bits of the bfloat16 number 128 counts ones.
__device__ __forceinline__ uint32_t FragmentRegister(uint32_t word, int p, __nv_bfloat162 zero) {
  const uint32_t bits = MaskAndSet(word >> (4 * p), 0x000f000fu, 0x43004300u);
  const __nv_bfloat162 value = __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&bits), zero);
  return *reinterpret_cast<const uint32_t*>(&value);
}

// The two halves of a table's entry.
__device__ __forceinline__ float TableScale(uint32_t entry) {
  return __half2float(__ushort_as_half(static_cast<uint16_t>(entry)));
}
__device__ __forceinline__ __nv_bfloat162 TableZero(uint32_t entry) {
  const uint32_t twice = __byte_perm(entry, entry, 0x3232);
  return *reinterpret_cast<const __nv_bfloat162*>(&twice);
}

}  // namespace skein::cuda
