// One rank's end of the barrier in a shared segment: arriving, spinning, sleeping, noticing peers
// that died, and abort. Moves no data.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "collective/process_identity.h"
#include "collective/segment.h"

namespace skein {

class SegmentBarrier {
 public:
  // `peers`: all ranks, the own one too; one with pid 0 is not watched.
  SegmentBarrier(std::shared_ptr<Segment> segment, int rank, std::vector<ProcessIdentity> peers);
  // Peers that still wait for this rank get COLLECTIVE_ERROR.
  ~SegmentBarrier();
  SegmentBarrier(const SegmentBarrier&) = delete;
  SegmentBarrier& operator=(const SegmentBarrier&) = delete;

  // Returns when all ranks have arrived; everything they wrote before is then visible.
  // Throws ABORTED after Abort, COLLECTIVE_ERROR when a peer has left or died, or the deadline has
  // passed.
  void Arrive(std::optional<std::chrono::steady_clock::time_point> deadline = std::nullopt);
  // Throws what Arrive would, if the group is over already.
  void ThrowIfOver() const;

  // Any thread. Ends the group for the peers as well: none of them can finish a call without this
  // rank.
  void Abort();

  Segment& segment() const { return *segment_; }
  int rank() const { return rank_; }
  int world_size() const { return world_size_; }
  int64_t TakeWaitNanoseconds();

 private:
  bool HasCompleted(uint32_t target) const;
  // Waits until barrier `target` is complete or the group is broken.
  void Wait(uint32_t target, std::optional<std::chrono::steady_clock::time_point> deadline);
  bool Spin(uint32_t target);
  void Sleep(uint32_t target);
  void MarkLostPeers(uint32_t target);
  void Break();

  std::shared_ptr<Segment> segment_;
  int rank_;
  int world_size_;
  std::vector<ProcessIdentity> peers_;
  bool may_spin_;
  std::chrono::nanoseconds spin_time_{0};
  uint32_t waits_ = 0;
  uint32_t entered_ = 0;
  int64_t wait_ns_ = 0;
  std::atomic<bool> aborted_ = false;
};

}  // namespace skein
