// What the NCCL that is loaded can be asked to do, by its version. Knows no nccl.h.
#pragma once

#include <string>

namespace skein {

struct NcclWindows {
  bool are_used = false;
  // A sentence for logs and doctor.
  std::string why;
};

// Whether memory is registered as symmetric windows, whose kernels are NCCL's fastest within a
// host. They are launched programmatically. Those of 2.27 and from 2.30.7 on wait for the kernel in
// front of them; those of 2.28.3 to 2.30.4 do not, and are left alone although they only ever stand
// behind a fence. `asked`: the value of NCCL_WIN_ENABLE, NCCL's own switch, or null; 1 asks for
// them with any version that has them.
NcclWindows ChooseNcclWindows(int version, const char* asked);

// 22809 is 2.28.9.
std::string NcclVersionText(int version);

}  // namespace skein
