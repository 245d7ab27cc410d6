// Parsing of /proc/PID/stat and of the identities of boot and process id namespace.
#include "collective/process_identity.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace skein {
namespace {

// The file's first 4 KiB; empty when it cannot be read.
std::string ReadSmallFile(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char buffer[4096];
  const ssize_t size = read(fd, buffer, sizeof(buffer));
  close(fd);
  return size > 0 ? std::string(buffer, static_cast<size_t>(size)) : "";
}

// State letter and start time (fields 3 and 22) of /proc/PID/stat; false when there is no such
// process.
bool ReadStat(int64_t pid, char* state, uint64_t* start_ticks) {
  const std::string stat =
      ReadSmallFile(Format("/proc/%lld/stat", static_cast<long long>(pid)).c_str());
  // The command's name (field 2) may hold anything, brackets and spaces too: count from its last
  // bracket.
  const size_t bracket = stat.rfind(')');
  if (bracket == std::string::npos || bracket + 2 >= stat.size()) return false;
  const char* cursor = stat.c_str() + bracket + 2;
  *state = *cursor;
  for (int field = 3; field < 22; ++field) {
    cursor = std::strchr(cursor, ' ');
    if (cursor == nullptr) return false;
    ++cursor;
  }
  *start_ticks = std::strtoull(cursor, nullptr, 10);
  return true;
}

}  // namespace

ProcessIdentity OwnProcess() {
  ProcessIdentity own;
  own.pid = getpid();
  char state = 0;
  if (!ReadStat(own.pid, &state, &own.start_ticks)) {
    throw Error("COLLECTIVE_ERROR", "shared memory: /proc is not mounted, peers cannot be watched");
  }
  return own;
}

bool IsRunning(const ProcessIdentity& process) {
  if (process.pid == 0) return true;
  char state = 0;
  uint64_t start_ticks = 0;
  if (!ReadStat(process.pid, &state, &start_ticks)) return false;
  return start_ticks == process.start_ticks && state != 'Z' && state != 'X';
}

std::string HostIdentity() {
  std::string boot = ReadSmallFile("/proc/sys/kernel/random/boot_id");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  char target[64];
  const ssize_t size = readlink("/proc/self/ns/pid", target, sizeof(target));
  return boot + "/" + (size > 0 ? std::string(target, static_cast<size_t>(size)) : "");
}

}  // namespace skein
