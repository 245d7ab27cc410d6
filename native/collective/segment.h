// Memory that the ranks of one group share, within a process or between the processes of one host:
// a header with the barrier's words and two slots of data for each rank. Owns the mapping; does no
// synchronisation itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace skein {

constexpr int kMaxSegmentRanks = 64;

enum class SegmentRankState : uint32_t { kAbsent = 0, kJoined = 1, kLeft = 2, kLost = 3 };

struct alignas(64) SegmentRank {
  // Barriers that the rank has entered.
  std::atomic<uint32_t> entered;
  std::atomic<SegmentRankState> state;
};

// All counters wrap. Only lock-free atomics: a rank may be killed between any two instructions and
// leaves nothing locked.
struct SegmentHeader {
  uint64_t magic;
  uint64_t nonce;
  uint64_t group_epoch;
  int64_t world_size;
  int64_t slot_bytes;
  // Completed barriers * 2 | broken. Ranks sleep on this word. Once broken, no later barrier
  // completes.
  alignas(64) std::atomic<uint32_t> word;
  alignas(64) std::atomic<uint32_t> arrivals;
  // Ranks asleep on `word`, or about to be.
  alignas(64) std::atomic<uint32_t> sleepers;
  SegmentRank ranks[kMaxSegmentRanks];
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

class Segment {
 public:
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  // For threads of this process.
  static std::shared_ptr<Segment> CreateLocal(int world_size);
  // A memfd: it has no name, so nothing stays behind however the processes end. Its size is sealed
  // and its memory reserved, so that no peer can turn an access into a bus error. Peers open it by
  // fd() through /proc while this process keeps it.
  static std::shared_ptr<Segment> CreateShared(int world_size, uint64_t group_epoch,
                                               uint64_t nonce);
  // Maps what the process `pid` has open as `fd`. Throws COLLECTIVE_ERROR if that is not this
  // group's segment.
  static std::shared_ptr<Segment> Attach(int64_t pid, int fd, int world_size, uint64_t group_epoch,
                                         uint64_t nonce);

  SegmentHeader& header() const { return *static_cast<SegmentHeader*>(base_); }
  // Which of the rank's two slots: `parity` 0 or 1.
  std::byte* Slot(int rank, int parity) const;
  size_t slot_bytes() const { return slot_bytes_; }
  int fd() const { return fd_; }
  // Peers that are not attached yet cannot attach any more.
  void CloseFd();

 private:
  Segment(void* base, size_t bytes, size_t slot_bytes, int fd)
      : base_(base), bytes_(bytes), slot_bytes_(slot_bytes), fd_(fd) {}
  void Initialize(int world_size, uint64_t group_epoch, uint64_t nonce);

  void* base_;
  size_t bytes_;
  size_t slot_bytes_;
  int fd_;
};

}  // namespace skein
