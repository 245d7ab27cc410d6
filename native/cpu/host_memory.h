// How much memory this process may use: the host's, or less where a control group limits it.
#pragma once

#include <cstdint>
#include <string>

namespace skein::cpu {

struct HostMemory {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
};

// The smallest limit of the process's control group and its parents, under version 2 and version 1
// of the interface; the host's memory where there is none. Pages of files that nobody used lately
// count as free: the kernel takes them back, and loading a checkpoint leaves many. `root` is put
// before /proc and /sys; for tests.
HostMemory ReadHostMemory(const std::string& root = "");

}  // namespace skein::cpu
