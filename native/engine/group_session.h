// This rank's membership in a group, epoch after epoch: which epoch it is, its communicator, and
// abort from any thread.
//
//   none --Prepare--> prepared --Join--> joined --End--> none        Abort in any state: the epoch
//   stays dead until End or Prepare.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "collective/communicator.h"
#include "engine/engine.h"

namespace skein {

class GroupSession {
 public:
  // Throws STALE_EPOCH for an epoch not above the highest seen.
  void CheckNewEpoch(uint64_t group_epoch) const;
  // Ends the epoch before. Throws ABORTED for an epoch that was aborted before it began.
  std::string Prepare(const GroupOptions& options);
  // Throws STALE_EPOCH, NOT_READY (another epoch was prepared), and what connecting throws.
  void Join(uint64_t group_epoch, const std::vector<std::string>& addresses, int timeout_ms);
  void End();
  // Any thread.
  void Abort(uint64_t group_epoch);

  // Throws STALE_EPOCH, NOT_READY or ABORTED unless this epoch is joined and alive.
  void CheckEpoch(uint64_t group_epoch) const;
  // Throws STALE_EPOCH or NOT_READY unless this epoch is prepared and not yet joined.
  void CheckPrepared(uint64_t group_epoch, size_t num_addresses) const;
  // Throws ABORTED when the present epoch was aborted. A collective that fails for that reason may
  // have noticed a peer first.
  void CheckNotAborted(uint64_t group_epoch) const;
  // Only while joined, on the engine's thread.
  Communicator& communicator() { return *communicator_; }
  bool is_joined() const { return communicator_ != nullptr; }

  void StepDone(uint64_t step) {
    last_step_.store(step);
    Touch();
  }
  void SetPhase(EnginePhase phase) {
    phase_.store(phase, std::memory_order_relaxed);
    Touch();
  }
  // Any thread.
  Progress progress() const;

 private:
  class Tracked;

  void Touch();
  bool IsAborted() const { return epoch_.load() <= aborted_epoch_.load(); }

  int world_size_ = 1;
  // Guards the two pointers below against Abort; the engine's thread alone changes them.
  mutable std::mutex mutex_;
  std::shared_ptr<CommunicatorBuilder> builder_;
  std::shared_ptr<Communicator> communicator_;
  // 0: none. Epochs up to aborted_epoch_ are dead.
  std::atomic<uint64_t> epoch_{0}, highest_epoch_{0}, aborted_epoch_{0};
  std::atomic<uint64_t> last_step_{0}, collectives_{0};
  std::atomic<EnginePhase> phase_{EnginePhase::kIdle};
  std::atomic<bool> in_collective_{false};
  std::atomic<int64_t> last_progress_ns_{0};
};

}  // namespace skein
