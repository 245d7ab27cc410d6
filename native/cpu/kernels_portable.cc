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
#include "cpu/kernel_table.inc"
#include "cpu/product_kernels.inc"
#include "cpu/row_kernels.inc"
#include "cpu/simd_portable.inc"

constexpr KernelTable kTable = MakeTable(InstructionClass::kPortable);
}  // namespace
}  // namespace skein::cpu

namespace skein::cpu {

const KernelTable& PortableKernels() { return kTable; }

}  // namespace skein::cpu
