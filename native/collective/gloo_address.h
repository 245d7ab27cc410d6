// The opaque address of a rank of a Gloo group: where each peer is to connect. Bytes in, bytes out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skein {

struct GlooAddress {
  uint64_t group_epoch = 0;
  int rank = 0;
  // Gloo's own address for the connection with each peer; empty for the rank itself.
  std::vector<std::string> by_peer;
};

// At most 4 KiB for 64 ranks: Gloo's addresses are mostly zeros, whose runs are written as a zero
// and their length.
std::string SerializeGlooAddress(const GlooAddress& address);
// Throws COLLECTIVE_ERROR unless it is rank `rank` of `world_size` in that epoch.
GlooAddress ParseGlooAddress(const std::string& text, uint64_t group_epoch, int rank,
                             int world_size);

}  // namespace skein
