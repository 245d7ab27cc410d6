// The builders of the kinds of communicator, each defined in the file of its kind;
// MakeCommunicatorBuilder chooses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace skein {

std::unique_ptr<CommunicatorBuilder> MakeSharedMemoryBuilder(const CommunicatorOptions& options);
std::unique_ptr<CommunicatorBuilder> MakeGlooBuilder(const CommunicatorOptions& options);

// One address per rank, or COLLECTIVE_ERROR.
void CheckAddressCount(const std::vector<std::string>& addresses, int world_size);
// A rank of the group, or INVALID_REQUEST.
void CheckRoot(int root, int world_size);

}  // namespace skein
