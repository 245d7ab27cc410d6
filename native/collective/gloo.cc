#include "collective/builders.h"
#include "core/error.h"
namespace skein {
std::unique_ptr<CommunicatorBuilder> MakeGlooBuilder(const CommunicatorOptions&) {
  throw Error("INVALID_REQUEST", "collective kind gloo: not built into this library");
}
}  // namespace skein
