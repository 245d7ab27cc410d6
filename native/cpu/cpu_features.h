// What this processor can do. The instruction class decides the bits of the results, so a group of
// ranks has one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skein::cpu {

// In ascending order: a processor that has one has those before it.
enum class InstructionClass : uint8_t { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

// "portable", "avx2", "avx512", "avx512_bf16".
const char* Name(InstructionClass instruction_class);

// The best class of this processor (and operating system).
InstructionClass DetectInstructionClass();

// The detected class, lowered by the environment variable SKEIN_CPU_ISA (one of the names) if that
// is set. Throws Error(INVALID_REQUEST) for an unknown name and for a class that the processor
// lacks.
InstructionClass ChooseInstructionClass();

// All classes up to the detected one; for tests.
std::vector<InstructionClass> AvailableInstructionClasses();

// "AMD EPYC 9B14", from /proc/cpuinfo; "unknown processor" where there is none.
std::string ProcessorName();

}  // namespace skein::cpu
