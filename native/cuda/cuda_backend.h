// The CUDA back end's one entry point.
#pragma once

#include <memory>

#include "ops/backend.h"

namespace skein {

// device: "cuda" or "cuda:N". Throws INVALID_REQUEST where there is no such device.
std::unique_ptr<Backend> MakeCudaBackend(const BackendOptions& options);

}  // namespace skein
