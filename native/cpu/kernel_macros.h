// Compiler hints of the kernel files.
#pragma once

#define SKEIN_INLINE inline __attribute__((always_inline))
#define SKEIN_INLINE_LAMBDA __attribute__((always_inline))
#define SKEIN_UNROLL _Pragma("GCC unroll 16")
// Far enough ahead to cover the latency of memory, and the page boundaries at which the hardware's
// own prefetching stops.
#define SKEIN_PREFETCH(address) __builtin_prefetch(address)
