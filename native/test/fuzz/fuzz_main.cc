// libFuzzer's entry to the one target that this program is for (SKEIN_FUZZ_TARGET, its function).
#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  skein::fuzz::SKEIN_FUZZ_TARGET(data, size);
  return 0;
}
