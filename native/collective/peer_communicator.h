// NCCL, and beside it our own exchanges through the memory of GPUs of one host; built with the CUDA
// addon only.
#pragma once

#include <memory>

#include "collective/communicator.h"

namespace skein {

// `nccl` connects the group. Where all ranks are on one host, each on a GPU of its own, and reach
// each other's memory, sums over them and short gathers are then our own; everything else, and all
// elsewhere, stays NCCL's.
std::unique_ptr<CommunicatorBuilder> MakePeerBuilder(const CommunicatorOptions& options,
                                                     std::unique_ptr<CommunicatorBuilder> nccl);

}  // namespace skein
