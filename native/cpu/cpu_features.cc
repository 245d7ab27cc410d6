#include "cpu/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace skein::cpu {
namespace {

constexpr InstructionClass kClasses[] = {InstructionClass::kPortable, InstructionClass::kAvx2,
                                         InstructionClass::kAvx512, InstructionClass::kAvx512Bf16};

}  // namespace

const char* Name(InstructionClass instruction_class) {
  switch (instruction_class) {
    case InstructionClass::kPortable:
      return "portable";
    case InstructionClass::kAvx2:
      return "avx2";
    case InstructionClass::kAvx512:
      return "avx512";
    case InstructionClass::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

#if defined(__x86_64__)
namespace {

// Asked of the processor itself, for clang 14 does not know their names. The operating system saves
// their registers where it does those of AVX2 and AVX-512.
bool HasF16c() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}

bool HasAvx512Bf16() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

}  // namespace
#endif

InstructionClass DetectInstructionClass() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  if (!avx2) return InstructionClass::kPortable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!avx512) return InstructionClass::kAvx2;
  return HasAvx512Bf16() ? InstructionClass::kAvx512Bf16 : InstructionClass::kAvx512;
#else
  return InstructionClass::kPortable;
#endif
}

InstructionClass ChooseInstructionClass() {
  const InstructionClass detected = DetectInstructionClass();
  const char* wanted = std::getenv("SKEIN_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return detected;
  for (const InstructionClass instruction_class : kClasses) {
    if (std::string(wanted) != Name(instruction_class)) continue;
    if (instruction_class > detected) {
      throw Error(
          "INVALID_REQUEST",
          Format("SKEIN_CPU_ISA is %s, but this processor has at most %s", wanted, Name(detected)));
    }
    return instruction_class;
  }
  throw Error(
      "INVALID_REQUEST",
      Format("SKEIN_CPU_ISA is %s; it takes portable, avx2, avx512 or avx512_bf16", wanted));
}

std::vector<InstructionClass> AvailableInstructionClasses() {
  std::vector<InstructionClass> classes;
  for (const InstructionClass instruction_class : kClasses) {
    if (instruction_class <= DetectInstructionClass()) classes.push_back(instruction_class);
  }
  return classes;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
    if (start != std::string::npos) return line.substr(start);
  }
  return "unknown processor";
}

}  // namespace skein::cpu
