#include "cpu/host_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace skein::cpu {
namespace {

// Files of one version of the interface.
struct Interface {
  const char* mount;
  // The controller's name in /proc/self/cgroup; version 2 has none.
  const char* controller;
  std::vector<const char*> limit_files;
  const char* usage_file;
  const char* inactive_key;
};

const std::vector<Interface>& Interfaces() {
  // Beyond memory.high processes are slowed down until they are below it again.
  static const std::vector<Interface> interfaces = {
      {"/sys/fs/cgroup", "", {"memory.max", "memory.high"}, "memory.current", "inactive_file"},
      {"/sys/fs/cgroup/memory",
       "memory",
       {"memory.limit_in_bytes"},
       "memory.usage_in_bytes",
       "total_inactive_file"}};
  return interfaces;
}

// -1 where the file is missing or says "max".
int64_t ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = -1;
  return file >> value ? value : -1;
}

// Of a file with lines "key value" or "key: value kB"; -1 where the key is missing.
int64_t ReadKey(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.size() <= key.size() || line.compare(0, key.size(), key) != 0) continue;
    const char next = line[key.size()];
    if (next != ' ' && next != ':') continue;
    return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
  }
  return -1;
}

// "…:CONTROLLERS:PATH" of /proc/self/cgroup; "/" where the controller is not listed or its path
// leads out of what this process sees.
std::string GroupPath(const std::string& root, const std::string& controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string listed = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_it = controller.empty()
                           ? listed == ",,"
                           : listed.find("," + controller + ",") != std::string::npos;
    const std::string path = line.substr(second + 1);
    if (is_it && path.find("/..") == std::string::npos) return path;
  }
  return "/";
}

// The group's folder and those of its parents. In a container the path may be the host's, of which
// only the mount itself is to be seen.
std::vector<std::string> GroupFolders(const std::string& mount, std::string path) {
  std::vector<std::string> folders;
  while (!path.empty() && path != "/") {
    folders.push_back(mount + path);
    path.resize(path.rfind('/'));
  }
  folders.push_back(mount);
  return folders;
}

void ApplyLimit(int64_t limit, int64_t used, HostMemory& memory) {
  if (limit <= 0) return;
  memory.total_bytes = std::min(memory.total_bytes, limit);
  memory.free_bytes = std::min(memory.free_bytes, std::max<int64_t>(0, limit - used));
}

}  // namespace

HostMemory ReadHostMemory(const std::string& root) {
  const std::string meminfo = root + "/proc/meminfo";
  HostMemory memory{std::max<int64_t>(0, ReadKey(meminfo, "MemTotal")) * 1024,
                    std::max<int64_t>(0, ReadKey(meminfo, "MemAvailable")) * 1024};
  for (const Interface& interface : Interfaces()) {
    const std::string mount = root + interface.mount;
    for (const std::string& folder : GroupFolders(mount, GroupPath(root, interface.controller))) {
      const int64_t usage = ReadNumber(folder + "/" + interface.usage_file);
      const int64_t inactive = ReadKey(folder + "/memory.stat", interface.inactive_key);
      const int64_t used = std::max<int64_t>(0, usage - std::max<int64_t>(0, inactive));
      for (const char* file : interface.limit_files) {
        ApplyLimit(ReadNumber(folder + "/" + file), used, memory);
      }
      // Version 1 tells the least limit of all parents, those out of sight too.
      ApplyLimit(ReadKey(folder + "/memory.stat", "hierarchical_memory_limit"), used, memory);
    }
  }
  return memory;
}

}  // namespace skein::cpu
