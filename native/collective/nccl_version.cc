#include "collective/nccl_version.h"

#include <cstring>

#include "core/error.h"

namespace skein {
namespace {

// As NCCL counts since 2.9.
constexpr int Version(int major, int minor, int patch) {
  return major * 10000 + minor * 100 + patch;
}
constexpr int kFirstWithWindows = Version(2, 27, 3);
constexpr int kFirstThatDoesNotWait = Version(2, 28, 0);
constexpr int kFirstThatWaitsAgain = Version(2, 30, 7);

}  // namespace

NcclWindows ChooseNcclWindows(int version, const char* asked) {
  if (version < kFirstWithWindows) return {false, "not known to this version"};
  if (asked != nullptr && std::strcmp(asked, "0") == 0) return {false, "NCCL_WIN_ENABLE=0"};
  if (asked != nullptr && std::strcmp(asked, "1") == 0) return {true, "NCCL_WIN_ENABLE=1"};
  if (version >= kFirstThatDoesNotWait && version < kFirstThatWaitsAgain) {
    return {false, "2.28.3 to 2.30.4 start without waiting for the kernel in front"};
  }
  return {true, "their kernels wait for the one in front"};
}

std::string NcclVersionText(int version) {
  return Format("%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace skein
