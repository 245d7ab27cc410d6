// Choosing the kind of communicator, and the two that need no transport: world size 1 and threads
// of one process.
#include "collective/communicator.h"

#include <atomic>
#include <cstring>

#include "collective/builders.h"
#if SKEIN_WITH_CUDA
#include "collective/nccl_communicator.h"
#include "collective/peer_communicator.h"
#endif
#include "collective/reduce.h"
#include "collective/segment_barrier.h"
#include "collective/segment_communicator.h"
#include "core/error.h"

namespace skein {
namespace {

// World size 1: nothing to exchange. Rounding is none either, for a sum of one is the value itself.
class SingleRank final : public Communicator {
 public:
  explicit SingleRank(std::shared_ptr<std::atomic<bool>> aborted) : aborted_(std::move(aborted)) {}

  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  const char* kind() const override { return "none"; }
  void AllReduce(void*, int64_t, DType type, ReduceOp, DeviceStream*) override {
    CheckReducible(type);
    ThrowIfAborted();
  }
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream*) override {
    ThrowIfAborted();
    if (send != receive && bytes > 0) std::memcpy(receive, send, bytes);
  }
  void Broadcast(void*, size_t, int root, DeviceStream*) override {
    CheckRoot(root, 1);
    ThrowIfAborted();
  }
  void Abort() override { aborted_->store(true); }
  int64_t TakeWaitNanoseconds() override { return 0; }

 private:
  void ThrowIfAborted() const {
    if (aborted_->load()) throw Error("ABORTED", "the group's epoch was aborted");
  }

  std::shared_ptr<std::atomic<bool>> aborted_;
};

class SingleRankBuilder final : public CommunicatorBuilder {
 public:
  std::string LocalAddress() const override { return "skein-none-1"; }
  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses, int) override {
    CheckAddressCount(addresses, 1);
    if (aborted_->load()) throw Error("ABORTED", "the group's epoch was aborted while it formed");
    return std::make_unique<SingleRank>(aborted_);
  }
  void Abort() override { aborted_->store(true); }

 private:
  std::shared_ptr<std::atomic<bool>> aborted_ = std::make_shared<std::atomic<bool>>(false);
};

void CheckOptions(const CommunicatorOptions& options) {
  if (options.world_size < 1) {
    throw Error("INVALID_REQUEST", Format("world_size %d: must be at least 1", options.world_size));
  }
  if (options.rank < 0 || options.rank >= options.world_size) {
    throw Error("INVALID_REQUEST",
                Format("rank %d: must be 0 to %d", options.rank, options.world_size - 1));
  }
  if (options.kind == CollectiveKind::kNone && options.world_size != 1) {
    throw Error(
        "INVALID_REQUEST",
        Format("collective kind none with world_size %d: needs a transport", options.world_size));
  }
}

}  // namespace

void CheckAddressCount(const std::vector<std::string>& addresses, int world_size) {
  if (addresses.size() == static_cast<size_t>(world_size)) return;
  throw Error("COLLECTIVE_ERROR",
              Format("%zu addresses for %d ranks", addresses.size(), world_size));
}

void CheckRoot(int root, int world_size) {
  if (root >= 0 && root < world_size) return;
  throw Error("INVALID_REQUEST",
              Format("broadcast root %d: must be 0 to %d", root, world_size - 1));
}

std::unique_ptr<CommunicatorBuilder> MakeCommunicatorBuilder(const CommunicatorOptions& options) {
  CheckOptions(options);
  switch (options.kind) {
    case CollectiveKind::kNone:
      return std::make_unique<SingleRankBuilder>();
    case CollectiveKind::kSharedMemory:
      return MakeSharedMemoryBuilder(options);
    case CollectiveKind::kGloo:
      return MakeGlooBuilder(options);
    case CollectiveKind::kNccl:
#if SKEIN_WITH_CUDA
      return MakePeerBuilder(options, MakeNcclBuilder(options, options.deterministic));
#else
      throw Error("INVALID_REQUEST", "collective kind nccl: not built into this library");
#endif
  }
  throw Error("INVALID_REQUEST",
              Format("collective kind %d: unknown", static_cast<int>(options.kind)));
}

std::string DescribeDeviceCollectives() {
#if SKEIN_WITH_CUDA
  return DescribeNccl();
#else
  return "";
#endif
}

std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int world_size) {
  if (world_size < 1 || world_size > kMaxSegmentRanks) {
    throw Error("INVALID_REQUEST", Format("world size %d: a local group has 1 to %d ranks",
                                          world_size, kMaxSegmentRanks));
  }
  std::vector<std::unique_ptr<Communicator>> group;
  if (world_size == 1) {
    group.push_back(std::make_unique<SingleRank>(std::make_shared<std::atomic<bool>>(false)));
    return group;
  }
  const std::shared_ptr<Segment> segment = Segment::CreateLocal(world_size);
  for (int rank = 0; rank < world_size; ++rank) {
    auto barrier = std::make_shared<SegmentBarrier>(
        segment, rank, std::vector<ProcessIdentity>(static_cast<size_t>(world_size)));
    group.push_back(std::make_unique<SegmentCommunicator>(std::move(barrier), "local"));
  }
  return group;
}

}  // namespace skein
