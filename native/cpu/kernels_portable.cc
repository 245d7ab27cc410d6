// The kernels of instruction class portable. Everything inside the target pragma has internal
// linkage, so that no other translation unit can end up with code for a processor that it does not
// have.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "cpu/kernels.h"

#define SKEIN_BF16_PAIRS 0
#include "cpu/kernel_macros.h"

namespace skein::cpu {
namespace {
// Each builds on those before it.
// clang-format off
#include "cpu/simd_portable.inc"
#include "cpu/row_kernels.inc"
#include "cpu/product_kernels.inc"
#include "cpu/kernel_table.inc"
// clang-format on

constexpr KernelTable kTable = MakeTable(InstructionClass::kPortable);
}  // namespace
}  // namespace skein::cpu

namespace skein::cpu {

const KernelTable& PortableKernels() { return kTable; }

}  // namespace skein::cpu
