// Hopper's warpgroup products: c [64, rows] += a [64, 16] x^T [16, rows], a in registers or shared
// memory, x in shared memory; bf16 or float8 operands, float32 sums (of float8, Hopper keeps some
// 14 bits of a term beside a large sum). They run by themselves: what they read and write may not
// be touched before WaitProducts.
#pragma once

#include <cstdint>

namespace skein::cuda {

// Products that follow see what registers hold now.
__device__ __forceinline__ void FenceProducts() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}
// Until at most kPending committed groups are under way.
template <int kPending>
__device__ __forceinline__ void WaitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}

// The compiler keeps a value's computation on its side of this.
__device__ __forceinline__ void Pin(uint32_t& value) { asm volatile("" : "+r"(value)::"memory"); }
__device__ __forceinline__ void Pin(float& value) { asm volatile("" : "+f"(value)::"memory"); }

// Rows of 64 bf16 (128 bytes) one after another, 1024-aligned in shared memory, piece p of 16 bytes
// of row r at p ^ r % 8 (what TMA calls a swizzle of 128 bytes). The fields: address / 16 in bits
// 0-13; 16-29, the step between pieces, is not read with this swizzle; the step between groups of
// eight rows, 1024 / 16, in 32-45; the swizzle, 1, in 62-63. Sixteen inputs further is 32 bytes.
__device__ __forceinline__ uint64_t OperandDescriptor(uint32_t shared) {
  constexpr uint64_t kLayout = uint64_t{1} << 62 | uint64_t{1024 / 16} << 32 | uint64_t{1} << 16;
  return kLayout | (shared & 0x3ffffu) >> 4;
}
// The same rows as the inputs of a product, whose columns are then its rows of x: columns 64 and on
// lie `step` bytes behind columns 0 to 63 (bits 16-29). Sixteen inputs further is 2048 bytes.
__device__ __forceinline__ uint64_t TransposedDescriptor(uint32_t shared, uint32_t step) {
  constexpr uint64_t kLayout = uint64_t{1} << 62 | uint64_t{1024 / 16} << 32;
  return kLayout | uint64_t{step / 16} << 16 | (shared & 0x3ffffu) >> 4;
}

// clang-format off
#define SKEIN_SUMS_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define SKEIN_SUMS_16 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SKEIN_SUMS_32 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SKEIN_SUMS_48 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SKEIN_SUMS_64 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define SKEIN_SUMS_80 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SKEIN_SUMS_96 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define SKEIN_SUMS_112 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SKEIN_LIST_16 SKEIN_SUMS_0
#define SKEIN_LIST_32 SKEIN_LIST_16 ", " SKEIN_SUMS_16
#define SKEIN_LIST_48 SKEIN_LIST_32 ", " SKEIN_SUMS_32
#define SKEIN_LIST_64 SKEIN_LIST_48 ", " SKEIN_SUMS_48
#define SKEIN_LIST_80 SKEIN_LIST_64 ", " SKEIN_SUMS_64
#define SKEIN_LIST_88 SKEIN_LIST_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define SKEIN_LIST_96 SKEIN_LIST_80 ", " SKEIN_SUMS_80
#define SKEIN_LIST_112 SKEIN_LIST_96 ", " SKEIN_SUMS_96
#define SKEIN_LIST_128 SKEIN_LIST_112 ", " SKEIN_SUMS_112
#define SKEIN_BIND_4(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define SKEIN_BIND_16(i) SKEIN_BIND_4(i), SKEIN_BIND_4(i + 4), SKEIN_BIND_4(i + 8), SKEIN_BIND_4(i + 12)
#define SKEIN_ALL_16 SKEIN_BIND_16(0)
#define SKEIN_ALL_32 SKEIN_ALL_16, SKEIN_BIND_16(16)
#define SKEIN_ALL_48 SKEIN_ALL_32, SKEIN_BIND_16(32)
#define SKEIN_ALL_64 SKEIN_ALL_48, SKEIN_BIND_16(48)
#define SKEIN_ALL_80 SKEIN_ALL_64, SKEIN_BIND_16(64)
#define SKEIN_ALL_88 SKEIN_ALL_80, SKEIN_BIND_4(80), SKEIN_BIND_4(84)
#define SKEIN_ALL_96 SKEIN_ALL_80, SKEIN_BIND_16(80)
#define SKEIN_ALL_112 SKEIN_ALL_96, SKEIN_BIND_16(96)
#define SKEIN_ALL_128 SKEIN_ALL_112, SKEIN_BIND_16(112)
// Operands that follow the sums: four registers of a, the descriptor, whether sums are added to.
#define SKEIN_WGMMA(transposed, rows, sums, a0, a1, a2, a3, x, add)                              \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #add ", 0;\n"                      \
               "wgmma.mma_async.sync.aligned.m64n" #rows "k16.f32.bf16.bf16 "           \
               "{" SKEIN_LIST_##sums "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #x \
               ", p, 1, 1, " #transposed ";\n}\n"                                                  \
               : SKEIN_ALL_##sums                                                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(descriptor), "r"(adds))

// The layout of a is that of mma.m16n8k16 for each warp's sixteen of the 64; c[4 i + j] that of its
// c[j] for rows 8 i .. 8 i + 7 of x.
template <int kRows>
__device__ __forceinline__ void WarpgroupMultiply(float (&c)[kRows / 2], const uint32_t (&a)[4],
                                                  uint64_t descriptor, int adds) {
  if constexpr (kRows == 32) SKEIN_WGMMA(0, 32, 16, 16, 17, 18, 19, 20, 21);
  else if constexpr (kRows == 64) SKEIN_WGMMA(0, 64, 32, 32, 33, 34, 35, 36, 37);
  else if constexpr (kRows == 96) SKEIN_WGMMA(0, 96, 48, 48, 49, 50, 51, 52, 53);
  else if constexpr (kRows == 128) SKEIN_WGMMA(0, 128, 64, 64, 65, 66, 67, 68, 69);
  else if constexpr (kRows == 160) SKEIN_WGMMA(0, 160, 80, 80, 81, 82, 83, 84, 85);
  else if constexpr (kRows == 192) SKEIN_WGMMA(0, 192, 96, 96, 97, 98, 99, 100, 101);
  else if constexpr (kRows == 224) SKEIN_WGMMA(0, 224, 112, 112, 113, 114, 115, 116, 117);
  else if constexpr (kRows == 256) SKEIN_WGMMA(0, 256, 128, 128, 129, 130, 131, 132, 133);
  else static_assert(kRows == 0, "no such product");
}

// x as TransposedDescriptor has it.
template <int kRows>
__device__ __forceinline__ void WarpgroupMultiplyTransposed(float (&c)[kRows / 2],
                                                            const uint32_t (&a)[4],
                                                            uint64_t descriptor, int adds) {
  if constexpr (kRows == 64) SKEIN_WGMMA(1, 64, 32, 32, 33, 34, 35, 36, 37);
  else if constexpr (kRows == 128) SKEIN_WGMMA(1, 128, 64, 64, 65, 66, 67, 68, 69);
  else static_assert(kRows == 0, "no such product");
}

// Operands that follow the sums: the descriptors of a and x, whether sums are added to.
#define SKEIN_SHARED_WGMMA(rows, sums, a, x, add)                                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #add ", 0;\n"                      \
               "wgmma.mma_async.sync.aligned.m64n" #rows "k16.f32.bf16.bf16 "           \
               "{" SKEIN_LIST_##sums "}, %" #a ", %" #x ", p, 1, 1, 0, 0;\n}\n"         \
               : SKEIN_ALL_##sums                                                       \
               : "l"(a_descriptor), "l"(descriptor), "r"(adds))

// a in shared memory, as OperandDescriptor has it.
template <int kRows>
__device__ __forceinline__ void WarpgroupMultiply(float (&c)[kRows / 2], uint64_t a_descriptor,
                                                  uint64_t descriptor, int adds) {
  if constexpr (kRows == 32) SKEIN_SHARED_WGMMA(32, 16, 16, 17, 18);
  else if constexpr (kRows == 64) SKEIN_SHARED_WGMMA(64, 32, 32, 33, 34);
  else if constexpr (kRows == 96) SKEIN_SHARED_WGMMA(96, 48, 48, 49, 50);
  else if constexpr (kRows == 128) SKEIN_SHARED_WGMMA(128, 64, 64, 65, 66);
  else if constexpr (kRows == 192) SKEIN_SHARED_WGMMA(192, 96, 96, 97, 98);
  else if constexpr (kRows == 256) SKEIN_SHARED_WGMMA(256, 128, 128, 129, 130);
  else if constexpr (kRows == 176) SKEIN_SHARED_WGMMA(176, 88, 88, 89, 90);
  else static_assert(kRows == 0, "no such product");
}

// Thirty-two inputs of float8, in the same bytes.
#define SKEIN_FLOAT8_WGMMA(rows, sums, a, x, add)                                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #add ", 0;\n"                      \
               "wgmma.mma_async.sync.aligned.m64n" #rows "k32.f32.e4m3.e4m3 "           \
               "{" SKEIN_LIST_##sums "}, %" #a ", %" #x ", p, 1, 1;\n}\n"               \
               : SKEIN_ALL_##sums                                                       \
               : "l"(a_descriptor), "l"(descriptor), "r"(adds))

template <int kRows>
__device__ __forceinline__ void WarpgroupMultiplyFloat8(float (&c)[kRows / 2], uint64_t a_descriptor,
                                                        uint64_t descriptor, int adds) {
  if constexpr (kRows == 32) SKEIN_FLOAT8_WGMMA(32, 16, 16, 17, 18);
  else if constexpr (kRows == 64) SKEIN_FLOAT8_WGMMA(64, 32, 32, 33, 34);
  else if constexpr (kRows == 96) SKEIN_FLOAT8_WGMMA(96, 48, 48, 49, 50);
  else if constexpr (kRows == 128) SKEIN_FLOAT8_WGMMA(128, 64, 64, 65, 66);
  else if constexpr (kRows == 192) SKEIN_FLOAT8_WGMMA(192, 96, 96, 97, 98);
  else if constexpr (kRows == 256) SKEIN_FLOAT8_WGMMA(256, 128, 128, 129, 130);
  else static_assert(kRows == 0, "no such product");
}

#undef SKEIN_SUMS_0
#undef SKEIN_SUMS_16
#undef SKEIN_SUMS_32
#undef SKEIN_SUMS_48
#undef SKEIN_SUMS_64
#undef SKEIN_SUMS_80
#undef SKEIN_SUMS_96
#undef SKEIN_SUMS_112
#undef SKEIN_LIST_16
#undef SKEIN_ALL_16
#undef SKEIN_LIST_32
#undef SKEIN_ALL_32
#undef SKEIN_LIST_48
#undef SKEIN_ALL_48
#undef SKEIN_LIST_64
#undef SKEIN_ALL_64
#undef SKEIN_LIST_80
#undef SKEIN_ALL_80
#undef SKEIN_LIST_88
#undef SKEIN_ALL_88
#undef SKEIN_LIST_96
#undef SKEIN_ALL_96
#undef SKEIN_LIST_112
#undef SKEIN_ALL_112
#undef SKEIN_LIST_128
#undef SKEIN_ALL_128
#undef SKEIN_BIND_4
#undef SKEIN_BIND_16
#undef SKEIN_WGMMA
#undef SKEIN_SHARED_WGMMA
#undef SKEIN_FLOAT8_WGMMA
// clang-format on

}  // namespace skein::cuda
