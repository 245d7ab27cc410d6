#include "cpu/kernels.h"

#include "core/error.h"

namespace skein::cpu {

const KernelTable& GetKernels(InstructionClass instruction_class) {
#if defined(__x86_64__)
  switch (instruction_class) {
    case InstructionClass::kPortable:
      return PortableKernels();
    case InstructionClass::kAvx2:
      return Avx2Kernels();
    case InstructionClass::kAvx512:
      return Avx512Kernels();
    case InstructionClass::kAvx512Bf16:
      return Avx512Bf16Kernels();
  }
#endif
  SKEIN_CHECK(instruction_class == InstructionClass::kPortable, "class %s",
              Name(instruction_class));
  return PortableKernels();
}

}  // namespace skein::cpu
