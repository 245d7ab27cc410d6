// What of a device's memory is taken, by what takes it.
#pragma once

#include <cstdint>

namespace skein {

// Bytes of the device, by what holds them. What a back end does not count is 0.
struct MemoryUse {
  int64_t weights = 0, activations = 0, kv_cache = 0, graphs = 0, workspaces = 0;
  // In use beyond these: the driver's own, the communicator's, and that of other processes.
  int64_t other = 0;
  int64_t free = 0, total = 0;
};

}  // namespace skein
