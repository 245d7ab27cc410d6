// Joining a shared-memory group: rank 0 creates the segment when its end is opened, the others
// attach when they connect.
#include <sys/random.h>

#include <mutex>
#include <sstream>

#include "collective/builders.h"
#include "collective/process_identity.h"
#include "collective/segment_barrier.h"
#include "collective/segment_communicator.h"
#include "core/error.h"

namespace skein {
namespace {

constexpr const char* kTag = "skein-shared-memory-1";

struct Address {
  uint64_t group_epoch = 0;
  int rank = 0;
  int world_size = 0;
  ProcessIdentity process;
  // Rank 0's segment; -1 and 0 in the others' addresses.
  int fd = -1;
  uint64_t nonce = 0;
  std::string host;
};

std::string Serialize(const Address& address) {
  std::ostringstream text;
  text << kTag << ' ' << address.group_epoch << ' ' << address.rank << ' ' << address.world_size
       << ' ' << address.process.pid << ' ' << address.process.start_ticks << ' ' << address.fd
       << ' ' << address.nonce << ' ' << address.host;
  return text.str();
}

Address Parse(const std::string& text, int rank, const Address& own) {
  std::istringstream in(text);
  std::string tag;
  Address address;
  in >> tag >> address.group_epoch >> address.rank >> address.world_size >> address.process.pid >>
      address.process.start_ticks >> address.fd >> address.nonce >> address.host;
  if (in.fail() || tag != kTag) {
    throw Error("COLLECTIVE_ERROR",
                Format("address of rank %d is not a shared-memory address", rank));
  }
  if (address.rank != rank || address.world_size != own.world_size ||
      address.group_epoch != own.group_epoch) {
    throw Error(
        "COLLECTIVE_ERROR",
        Format(
            "address of rank %d is of rank %d of %d in epoch %llu, not of %d ranks in epoch %llu",
            rank, address.rank, address.world_size,
            static_cast<unsigned long long>(address.group_epoch), own.world_size,
            static_cast<unsigned long long>(own.group_epoch)));
  }
  if (address.host != own.host) {
    throw Error("COLLECTIVE_ERROR", Format("rank %d runs on another host or in another process id "
                                           "namespace: shared memory cannot reach it, use Gloo",
                                           rank));
  }
  return address;
}

uint64_t RandomNonce() {
  uint64_t nonce = 0;
  if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce)) {
    throw Error("COLLECTIVE_ERROR", "shared memory: getrandom failed");
  }
  return nonce;
}

class SharedMemoryBuilder final : public CommunicatorBuilder {
 public:
  explicit SharedMemoryBuilder(const CommunicatorOptions& options) {
    own_.group_epoch = options.group_epoch;
    own_.rank = options.rank;
    own_.world_size = options.world_size;
    own_.process = OwnProcess();
    own_.host = HostIdentity();
    if (options.rank == 0) {
      own_.nonce = RandomNonce();
      segment_ = Segment::CreateShared(options.world_size, options.group_epoch, own_.nonce);
      own_.fd = segment_->fd();
    }
  }

  std::string LocalAddress() const override { return Serialize(own_); }

  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                        int timeout_ms) override {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    CheckAddressCount(addresses, own_.world_size);
    std::vector<ProcessIdentity> peers;
    Address first;
    for (int rank = 0; rank < own_.world_size; ++rank) {
      const Address address = Parse(addresses[static_cast<size_t>(rank)], rank, own_);
      peers.push_back(address.process);
      if (rank == 0) first = address;
    }
    if (own_.rank != 0) {
      segment_ = Segment::Attach(first.process.pid, first.fd, own_.world_size, own_.group_epoch,
                                 first.nonce);
    }
    auto barrier =
        std::make_shared<SegmentBarrier>(std::move(segment_), own_.rank, std::move(peers));
    {
      const std::lock_guard lock(mutex_);
      if (aborted_) throw Error("ABORTED", "the group's epoch was aborted while it formed");
      barrier_ = barrier;
    }
    barrier->Arrive(deadline);
    barrier->segment().CloseFd();
    barrier->TakeWaitNanoseconds();
    return std::make_unique<SegmentCommunicator>(std::move(barrier), "shared-memory");
  }

  void Abort() override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    if (const auto barrier = barrier_.lock()) barrier->Abort();
  }

 private:
  Address own_;
  std::shared_ptr<Segment> segment_;
  std::mutex mutex_;
  bool aborted_ = false;
  // The connected communicator's; weak, so that the builder does not keep the group alive.
  std::weak_ptr<SegmentBarrier> barrier_;
};

}  // namespace

std::unique_ptr<CommunicatorBuilder> MakeSharedMemoryBuilder(const CommunicatorOptions& options) {
  if (options.world_size > kMaxSegmentRanks) {
    throw Error("INVALID_REQUEST", Format("world size %d: shared memory takes at most %d ranks",
                                          options.world_size, kMaxSegmentRanks));
  }
  return std::make_unique<SharedMemoryBuilder>(options);
}

}  // namespace skein
