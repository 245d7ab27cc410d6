// Telling whether a peer process of this host still runs. Reads /proc only; sends no signal.
#pragma once

#include <cstdint>
#include <string>

namespace skein {

// A process id together with its start time (clock ticks after boot), so that a reused id is not
// taken for the old process.
struct ProcessIdentity {
  int64_t pid = 0;
  uint64_t start_ticks = 0;
};

ProcessIdentity OwnProcess();
// False once the process is dead, a zombie, or another process under the same id. True for pid 0
// ("not to be watched").
bool IsRunning(const ProcessIdentity& process);
// The same for all processes of one boot of one kernel that see each other by process id; different
// otherwise.
std::string HostIdentity();

}  // namespace skein
