// NCCL behind the communicator's interface; built with the CUDA addon only.
#pragma once

#include <memory>
#include <string>

#include "collective/communicator.h"

namespace skein {

// deterministic: sums in rank order (gather, then add) instead of NCCL's own order.
std::unique_ptr<CommunicatorBuilder> MakeNcclBuilder(const CommunicatorOptions& options,
                                                     bool deterministic);

// The library that is loaded, and which of its ways are used.
std::string DescribeNccl();

}  // namespace skein
