// Sums and gathers over the ranks of one host through each other's memory, by kernels of ours: what
// fits in which call, and the words by which the host ends waiting and sees it. The kernels are
// kernels/peer_*.cu. Collective: every rank makes the same calls in the same order.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collective/residual_norm.h"
#include "core/dtype.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/peer_view.h"
#include "cuda/peer_memory.h"
#include "cuda/stream.h"

namespace skein::cuda {

struct PeerExchangeOptions {
  int rank = 0;
  int world_size = 2;  // at most kMostPeerRanks
  // What one call of a kernel takes from all peers; twice that is allocated.
  size_t slot_bytes = size_t{16} << 20;
  // Blocks of a kernel, all of which must be on the device at once; 0: as many as it holds. Where
  // ranks share a device, they share these.
  int max_blocks = 0;
};

class PeerExchange {
 public:
  explicit PeerExchange(const PeerExchangeOptions& options);
  // No kernel of it runs any more, unless it waits in vain.
  ~PeerExchange();

  std::string handle() const { return memory_.handle(); }
  // By rank. Returns why a peer's memory cannot be reached, and must then not be used; empty where
  // all can.
  std::string Open(const std::vector<std::string>& handles);

  // After Open: whether another rank is in this process. Then a call of one rank that waits for the
  // device can keep the other from launching what the first one's kernels wait for, for ever.
  bool shares_process() const { return memory_.shares_process(); }

  // In place over `count` elements of float32 or bfloat16, any number of them. `data` begins at a
  // multiple of 16 bytes.
  void Sum(void* data, int64_t count, DType type, Stream& stream);
  // False, and nothing done, for widths and strides that the kernel does not take, and for what is
  // summed faster in parts; the same on all ranks.
  bool SumResidualNorm(const ResidualNorm& rows, Stream& stream);
  // receive: world_size blocks of `bytes`; `send` may lie in the own block. False, and nothing
  // done, where bytes is no multiple of 4.
  bool Gather(const void* send, void* receive, size_t bytes, Stream& stream);

  // Any thread. Kernels that wait leave within a millisecond, and later ones at once.
  void Abort();
  // Exchanges that have begun on the device, also those of graphs. Any thread.
  uint64_t begun() const;
  // For how long one block has waited for words of peers, by the device's clock, in exchanges that
  // have ended since this was last asked; the last of them may be left for the next time.
  int64_t TakeWaitNanoseconds();

 private:
  bool IsInParts(int64_t bytes) const;
  // 16-byte items that every rank may send every other in one call.
  int64_t Items() const { return view_.slot_bytes / 16 / (view_.world_size - 1); }

  PeerMemory memory_;
  // counts, waited_ns, given_up.
  DeviceMemory words_;
  // Each in a line of its own.
  struct HostWords {
    alignas(128) std::atomic<uint32_t> abort_asked;
    alignas(128) std::atomic<uint64_t> begun, told_waited_ns;
  };
  HostWords& host() const { return *reinterpret_cast<HostWords*>(host_words_.data()); }
  PinnedMemory host_words_;
  PeerView view_{};
  int max_blocks_;
  uint64_t taken_wait_ns_ = 0;
};

}  // namespace skein::cuda
