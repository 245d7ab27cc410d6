// The registry of back ends: the only place that knows which ones this build has.
#include "core/error.h"
#include "ops/backend.h"
#include "ops/memory_rules.h"

namespace skein {

#if SKEIN_WITH_CUDA
// Implemented by cuda/.
std::unique_ptr<Backend> MakeCudaBackend(const BackendOptions& options);
#endif

std::unique_ptr<Backend> MakeBackend(const BackendOptions& options) {
  if (options.device == "cpu") return MakeCpuBackend(options);
  if (options.device.rfind("cuda:", 0) == 0) {
#if SKEIN_WITH_CUDA
    return MakeCudaBackend(options);
#else
    throw Error("INVALID_REQUEST", "device is " + options.device +
                                       ", but this build of the engine has the CPU back end only");
#endif
  }
  throw Error("INVALID_REQUEST", "device is \"" + options.device + "\"; it must be cpu or cuda:N");
}

std::unique_ptr<MemoryRules> MakeMemoryRules(const std::string& kind) {
  if (kind == "cpu") return MakeCpuMemoryRules();
  if (kind == "cuda") return MakeCudaMemoryRules();
  throw Error("INVALID_REQUEST", "kind is \"" + kind + "\"; it must be cpu or cuda");
}

}  // namespace skein
