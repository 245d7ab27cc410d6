// Running one function on every rank of a group: on threads (local groups) or in forked processes
// (shared memory, Gloo). Test support only.
#pragma once

#include <string>
#include <vector>

#include "test/process_group.h"

namespace skein::test {

// One thread a rank over MakeLocalGroup. Returns each rank's error text, "" where it returned.
std::vector<std::string> RunThreads(int world_size, const RankBody& body);

// Threads for kNone (local), else processes; fails the running test with the first error.
void ExpectOnAllRanks(CollectiveKind kind, int world_size, const RankBody& body);

}  // namespace skein::test
