// The barrier's words and its futex. The last rank to arrive completes the barrier by adding 2 to
// `word`; bit 0 of the word says that the group is broken, and setting it wakes every sleeper, so
// that no wake-up can be missed between a check and a sleep.
#include "collective/segment_barrier.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <utility>

#include "core/error.h"

namespace skein {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kBroken = 1;
// A sleeper looks at this interval whether the peers that it waits for still run.
constexpr long kWatchIntervalMs = 100;

void FutexWait(std::atomic<uint32_t>* word, uint32_t expected, long timeout_ms) {
  const timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000000};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

void FutexWakeAll(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

int UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spinning pays only while every rank can have a core to itself: otherwise it takes the time of the
// rank that is waited for.
constexpr std::chrono::microseconds kMaxSpin{20};
// Where spinning does not pay, it is tried again every so many waits.
constexpr uint32_t kSpinTrialInterval = 64;

}  // namespace

SegmentBarrier::SegmentBarrier(std::shared_ptr<Segment> segment, int rank,
                               std::vector<ProcessIdentity> peers)
    : segment_(std::move(segment)),
      rank_(rank),
      world_size_(static_cast<int>(peers.size())),
      peers_(std::move(peers)),
      may_spin_(world_size_ <= UsableCores()) {
  segment_->header().ranks[rank_].state.store(SegmentRankState::kJoined);
}

SegmentBarrier::~SegmentBarrier() { Break(); }

void SegmentBarrier::Break() {
  SegmentHeader& header = segment_->header();
  header.ranks[rank_].state.store(SegmentRankState::kLeft);
  header.word.fetch_or(kBroken);
  FutexWakeAll(&header.word);
}

void SegmentBarrier::Abort() {
  aborted_.store(true);
  Break();
}

void SegmentBarrier::ThrowIfOver() const {
  if (aborted_.load()) throw Error("ABORTED", "the group's epoch was aborted");
  const SegmentHeader& header = segment_->header();
  if ((header.word.load() & kBroken) == 0) return;
  // A rank that died is the cause; those that left may have done so because of it.
  for (const SegmentRankState wanted : {SegmentRankState::kLost, SegmentRankState::kLeft}) {
    for (int rank = 0; rank < world_size_; ++rank) {
      if (header.ranks[rank].state.load() != wanted) continue;
      const auto pid = static_cast<long long>(peers_[static_cast<size_t>(rank)].pid);
      throw Error("COLLECTIVE_ERROR", wanted == SegmentRankState::kLost
                                          ? Format("rank %d (process %lld) died", rank, pid)
                                          : Format("rank %d left the group", rank));
    }
  }
  throw Error("COLLECTIVE_ERROR", "the group is broken");
}

bool SegmentBarrier::HasCompleted(uint32_t target) const {
  // No rank is ahead of this one by a whole barrier, so "not the one before" means "this one".
  return segment_->header().word.load(std::memory_order_acquire) >> 1 ==
         (target & (UINT32_MAX >> 1));
}

void SegmentBarrier::Arrive(std::optional<Clock::time_point> deadline) {
  ThrowIfOver();
  SegmentHeader& header = segment_->header();
  const uint32_t target = ++entered_;
  header.ranks[rank_].entered.store(target, std::memory_order_relaxed);
  const auto arrived = header.arrivals.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (arrived == static_cast<uint32_t>(world_size_)) {
    header.arrivals.store(0, std::memory_order_relaxed);
    header.word.fetch_add(2);
    if (header.sleepers.load() != 0) FutexWakeAll(&header.word);
    return;
  }
  const Clock::time_point start = Clock::now();
  Wait(target, deadline);
  wait_ns_ += std::chrono::nanoseconds(Clock::now() - start).count();
}

// Spins as long as it has paid lately: each wait that ends in time restores the full time, each
// other halves it.
bool SegmentBarrier::Spin(uint32_t target) {
  if (++waits_ % kSpinTrialInterval == 0) spin_time_ = kMaxSpin;
  if (spin_time_ < std::chrono::microseconds(1)) return false;
  const Clock::time_point end = Clock::now() + spin_time_;
  do {
    for (int i = 0; i < 32; ++i) {
      if (HasCompleted(target)) {
        spin_time_ = kMaxSpin;
        return true;
      }
      Pause();
    }
  } while (Clock::now() < end);
  spin_time_ /= 2;
  return false;
}

void SegmentBarrier::Wait(uint32_t target, std::optional<Clock::time_point> deadline) {
  const SegmentHeader& header = segment_->header();
  const auto broken = [&] { return (header.word.load(std::memory_order_acquire) & kBroken) != 0; };
  if (may_spin_ && Spin(target)) return;
  while (!HasCompleted(target)) {
    // A barrier may complete and the group break right after: completion counts.
    if (broken()) {
      if (HasCompleted(target)) return;
      ThrowIfOver();
    }
    if (deadline && Clock::now() >= *deadline) {
      for (int rank = 0; rank < world_size_; ++rank) {
        if (header.ranks[rank].entered.load() != target) {
          throw Error("COLLECTIVE_ERROR", Format("time-out waiting for rank %d", rank));
        }
      }
      continue;
    }
    Sleep(target);
  }
}

void SegmentBarrier::Sleep(uint32_t target) {
  SegmentHeader& header = segment_->header();
  header.sleepers.fetch_add(1);
  const uint32_t seen = header.word.load();
  const bool must_wait = (seen & kBroken) == 0 && !HasCompleted(target);
  const Clock::time_point start = Clock::now();
  if (must_wait) FutexWait(&header.word, seen, kWatchIntervalMs);
  header.sleepers.fetch_sub(1);
  if (must_wait && Clock::now() - start >= std::chrono::milliseconds(kWatchIntervalMs)) {
    MarkLostPeers(target);
  }
}

void SegmentBarrier::MarkLostPeers(uint32_t target) {
  SegmentHeader& header = segment_->header();
  for (int rank = 0; rank < world_size_; ++rank) {
    if (header.ranks[rank].entered.load() == target) continue;
    if (IsRunning(peers_[static_cast<size_t>(rank)])) continue;
    header.ranks[rank].state.store(SegmentRankState::kLost);
    header.word.fetch_or(kBroken);
    FutexWakeAll(&header.word);
  }
}

int64_t SegmentBarrier::TakeWaitNanoseconds() { return std::exchange(wait_ns_, 0); }

}  // namespace skein
