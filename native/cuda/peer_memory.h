// Staging memory of the ranks of one host: this rank's own, and its peers' as this process reaches
// it: by CUDA's handles between processes, as it is within one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace skein::cuda {

class PeerMemory {
 public:
  // On the current device; every byte is 0xff.
  explicit PeerMemory(size_t bytes);
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // For the other ranks: bytes, below 256.
  std::string handle() const;
  // By rank, of all. Returns why a peer's memory cannot be reached; empty where all can. At most
  // once.
  std::string Open(const std::vector<std::string>& handles, int own_rank);
  // After Open: whether another rank is in this process.
  bool shares_process() const { return !shared_.empty(); }
  // After Open.
  char* of(int rank) const { return memory_[static_cast<size_t>(rank)]; }

 private:
  struct Allocation;
  struct Handle;

  std::string OpenOne(const Handle& handle, int rank);

  std::shared_ptr<Allocation> own_;
  // Of ranks in this process, so that they outlive whoever writes them.
  std::vector<std::shared_ptr<Allocation>> shared_;
  std::vector<void*> opened_;
  std::vector<char*> memory_;
};

}  // namespace skein::cuda
