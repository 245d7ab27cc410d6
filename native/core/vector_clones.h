// For loops that the compiler vectorises: builds them for several widths and picks one when the
// program starts. Only for arithmetic whose bits do not depend on the width: element-wise, or sums
// of integers.
#pragma once

// The thread sanitizer cannot run the resolvers that pick.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define SKEIN_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SKEIN_VECTOR_CLONES
#endif
