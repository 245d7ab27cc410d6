// What a kernel has to know of the ranks whose memory it reaches: by value, a kernel's argument.
#pragma once

#include <cstdint>

namespace skein::cuda {

inline constexpr int kMostPeerRanks = 8;
// Blocks of a kernel that exchanges: each has a count of its own.
inline constexpr int kMostPeerBlocks = 512;

struct PeerView {
  int32_t rank, world_size;
  // The staging memory of every rank, as this one reaches it: two slots of `slot_bytes`, a multiple
  // of 16.
  char* staging[kMostPeerRanks];
  int64_t slot_bytes;
  // Exchanges that have ended [kMostPeerBlocks], all the same between kernels; nanoseconds for
  // which the first thread of all has waited; whether an exchange was given up: in this rank's own
  // memory.
  uint64_t* counts;
  uint64_t* waited_ns;
  uint32_t* given_up;
  // In the host's memory: not 0 once waiting is to end; the exchanges that have begun; what
  // `waited_ns` was when the last of these began.
  const uint32_t* abort_asked;
  uint64_t* begun;
  uint64_t* told_waited_ns;
};

}  // namespace skein::cuda
