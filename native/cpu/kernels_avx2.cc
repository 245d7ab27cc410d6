// The kernels of instruction class avx2. Everything inside the target pragma has internal linkage,
// so that no other translation unit can end up with code for a processor that it does not have.
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

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace skein::cpu {
namespace {
// Each builds on those before it.
// clang-format off
#include "cpu/simd_avx2.inc"
#include "cpu/row_kernels.inc"
#include "cpu/product_kernels.inc"
#include "cpu/kernel_table.inc"
// clang-format on

constexpr KernelTable kTable = MakeTable(InstructionClass::kAvx2);
}  // namespace
}  // namespace skein::cpu
#pragma GCC pop_options

namespace skein::cpu {

const KernelTable& Avx2Kernels() { return kTable; }

}  // namespace skein::cpu
#endif
