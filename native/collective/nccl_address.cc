#include "collective/nccl_address.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <utility>

#include "core/error.h"

namespace skein {
namespace {

constexpr char kTag[] = "skein-nccl-1";
// Longer than any host name and bus id.
constexpr size_t kMaxField = 512;

// Reads up to the next newline.
std::string TakeLine(const std::string& text, size_t* at, int rank) {
  const size_t end = text.find('\n', *at);
  if (end == std::string::npos || end - *at > kMaxField) {
    throw Error("COLLECTIVE_ERROR", Format("address of rank %d is not an NCCL address", rank));
  }
  const std::string line = text.substr(*at, end - *at);
  *at = end + 1;
  return line;
}

}  // namespace

std::string NcclHost() {
  const char* claimed = std::getenv("NCCL_HOSTID");
  std::string host;
  if (claimed != nullptr && *claimed != '\0') {
    host = claimed;
  } else {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    std::string boot;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
    host = std::string(name) + " " + boot;
  }
  std::replace(host.begin(), host.end(), '\n', ' ');
  return host.substr(0, kMaxField);
}

std::string SerializeNcclAddress(const NcclAddress& address) {
  return std::string(kTag) + "\n" + address.host + "\n" + address.pci_bus_id + "\n" +
         address.unique_id;
}

NcclAddress ParseNcclAddress(const std::string& text, int rank) {
  size_t at = 0;
  if (TakeLine(text, &at, rank) != kTag) {
    throw Error("COLLECTIVE_ERROR", Format("address of rank %d is not an NCCL address", rank));
  }
  NcclAddress address;
  address.host = TakeLine(text, &at, rank);
  address.pci_bus_id = TakeLine(text, &at, rank);
  address.unique_id = text.substr(at);
  return address;
}

void CheckDistinctDevices(const std::vector<NcclAddress>& addresses) {
  std::map<std::pair<std::string, std::string>, size_t> seen;
  for (size_t rank = 0; rank < addresses.size(); ++rank) {
    const NcclAddress& address = addresses[rank];
    const auto [first, is_new] = seen.emplace(std::pair(address.host, address.pci_bus_id), rank);
    if (is_new) continue;
    throw Error(
        "INVALID_REQUEST",
        Format("device: ranks %zu and %zu both use the GPU at %s; NCCL takes one rank a GPU "
               "(--ranks-per-device lets ranks share one)",
               first->second, rank, address.pci_bus_id.c_str()));
  }
}

bool AreOnOneHost(const std::vector<NcclAddress>& addresses) {
  return std::all_of(addresses.begin(), addresses.end(), [&](const NcclAddress& address) {
    return address.host == addresses.front().host;
  });
}

}  // namespace skein
