// The kernels of instruction class avx512. Everything inside the target pragma has internal
// linkage, so that no other translation unit can end up with code for a processor that it does not
// have.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "cpu/kernels.h"

#define SKEIN_BF16_PAIRS 0
#include "cpu/kernel_macros.h"

// False alarms of GCC 12 about its own intrinsics (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
namespace skein::cpu {
namespace {
// Each builds on those before it.
// clang-format off
#include "cpu/simd_avx512.inc"
#include "cpu/row_kernels.inc"
#include "cpu/product_kernels.inc"
#include "cpu/kernel_table.inc"
// clang-format on

constexpr KernelTable kTable = MakeTable(InstructionClass::kAvx512);
}  // namespace
}  // namespace skein::cpu
#pragma GCC pop_options

namespace skein::cpu {

const KernelTable& Avx512Kernels() { return kTable; }

}  // namespace skein::cpu
#endif
