// What a kind of device holds of what it is given, told without such a device. Each back end has
// its rules beside the code that allocates, and both use the same functions for sizes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/backend.h"

namespace skein {

class MemoryRules {
 public:
  virtual ~MemoryRules() = default;
  virtual DType activation_type() const = 0;
  // Whether a dense weight stays where it was sent (Backend::weight_stream).
  virtual bool adopts_weights() const = 0;
  // Most bytes of what was staged that a load holds on to although nothing uses them.
  virtual int64_t MaxUnusedStagedBytes() const = 0;

  struct LinearBytes {
    int64_t weight = 0;     // PreparedLinear::weight_bytes
    int64_t allocated = 0;  // by PrepareLinear, to stay: without what it adopts
    int64_t transient = 0;  // by PrepareLinear, while it runs
  };
  // Of PrepareLinear. The linears of a model are counted one after the other: they share
  // workspaces.
  virtual LinearBytes Count(const RawLinear& raw, DType compute_type) = 0;
  // Of all linears counted, and of ReserveSteps.
  virtual int64_t WorkspaceBytes(const StepLimits& limits) const = 0;
};

// kind: "cpu" or "cuda", whatever this build can run. Throws INVALID_REQUEST for any other.
std::unique_ptr<MemoryRules> MakeMemoryRules(const std::string& kind);

// Implemented by cpu/ and cuda/.
std::unique_ptr<MemoryRules> MakeCpuMemoryRules();
std::unique_ptr<MemoryRules> MakeCudaMemoryRules();

}  // namespace skein
