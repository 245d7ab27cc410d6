#include "engine/group_session.h"

#include <chrono>

#include "core/error.h"

namespace skein {
namespace {

using Ull = unsigned long long;

[[noreturn]] void ThrowAborted(uint64_t epoch) {
  throw Error("ABORTED", Format("group epoch %llu was aborted", Ull{epoch}));
}

}  // namespace

// Counts calls as they begin, so that a watcher can tell a rank that waits from one that computes.
class GroupSession::Tracked final : public Communicator {
 public:
  Tracked(std::unique_ptr<Communicator> inner, GroupSession& session)
      : inner_(std::move(inner)), session_(session) {}

  int rank() const override { return inner_->rank(); }
  int world_size() const override { return inner_->world_size(); }
  const char* kind() const override { return inner_->kind(); }
  void AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                 DeviceStream* stream) override {
    const Call call(*this);
    inner_->AllReduce(data, count, type, op, stream);
  }
  bool AllReduceResidualNorm(const ResidualNorm& rows, DeviceStream* stream) override {
    const Call call(*this);
    return inner_->AllReduceResidualNorm(rows, stream);
  }
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override {
    const Call call(*this);
    inner_->AllGather(send, receive, bytes, stream);
  }
  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override {
    const Call call(*this);
    inner_->Broadcast(data, bytes, root, stream);
  }
  void Register(void* data, size_t bytes) override {
    const Call call(*this);
    inner_->Register(data, bytes);
  }
  void Abort() override { inner_->Abort(); }
  std::string Describe() const override { return inner_->Describe(); }
  uint64_t device_calls() const override { return inner_->device_calls(); }
  int64_t TakeWaitNanoseconds() override { return inner_->TakeWaitNanoseconds(); }

 private:
  // One call of the engine's thread, from its beginning to its end.
  class Call {
   public:
    explicit Call(Tracked& tracked) : session_(tracked.session_) {
      // Also between collectives that have nothing to wait for: an abort ends the step at its next
      // collective.
      if (session_.IsAborted()) ThrowAborted(session_.epoch_.load());
      session_.collectives_.fetch_add(1, std::memory_order_relaxed);
      session_.in_collective_.store(true, std::memory_order_relaxed);
      session_.Touch();
    }
    ~Call() {
      session_.in_collective_.store(false, std::memory_order_relaxed);
      session_.Touch();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    GroupSession& session_;
  };

  const std::unique_ptr<Communicator> inner_;
  GroupSession& session_;
};

void GroupSession::Touch() {
  last_progress_ns_.store(std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::steady_clock::now().time_since_epoch())
                              .count(),
                          std::memory_order_relaxed);
}

void GroupSession::CheckNewEpoch(uint64_t group_epoch) const {
  if (group_epoch > highest_epoch_.load()) return;
  throw Error("STALE_EPOCH", Format("groupEpoch: %llu is not above %llu, the highest seen",
                                    Ull{group_epoch}, Ull{highest_epoch_.load()}));
}

std::string GroupSession::Prepare(const GroupOptions& options) {
  CheckNewEpoch(options.group_epoch);
  End();
  CommunicatorOptions communicator;
  communicator.kind = options.collective;
  communicator.rank = options.rank;
  communicator.world_size = options.world_size;
  communicator.group_epoch = options.group_epoch;
  communicator.bind_host = options.bind_host;
  communicator.deterministic = options.deterministic;
  std::shared_ptr<CommunicatorBuilder> builder = MakeCommunicatorBuilder(communicator);
  const std::lock_guard lock(mutex_);
  builder_ = std::move(builder);
  world_size_ = options.world_size;
  highest_epoch_ = options.group_epoch;
  epoch_ = options.group_epoch;
  last_step_ = 0;
  collectives_ = 0;
  Touch();
  CheckNotAborted(options.group_epoch);
  return builder_->LocalAddress();
}

void GroupSession::CheckPrepared(uint64_t group_epoch, size_t num_addresses) const {
  if (group_epoch < highest_epoch_.load()) {
    throw Error("STALE_EPOCH", Format("groupEpoch: %llu is below %llu, the highest seen",
                                      Ull{group_epoch}, Ull{highest_epoch_.load()}));
  }
  if (builder_ == nullptr || group_epoch != epoch_.load()) {
    throw Error("NOT_READY", Format("groupEpoch: %llu was not prepared", Ull{group_epoch}));
  }
  if (static_cast<int64_t>(num_addresses) != world_size_) {
    throw Error("INVALID_REQUEST",
                Format("addresses: %zu for a world size of %d", num_addresses, world_size_));
  }
}

void GroupSession::Join(uint64_t group_epoch, const std::vector<std::string>& addresses,
                        int timeout_ms) {
  CheckPrepared(group_epoch, addresses.size());
  CheckNotAborted(group_epoch);
  // Abort reaches the builder while it waits: the lock is not held here.
  std::shared_ptr<Communicator> tracked;
  try {
    tracked = std::make_shared<Tracked>(builder_->Connect(addresses, timeout_ms), *this);
  } catch (const Error&) {
    CheckNotAborted(group_epoch);
    throw;
  }
  const std::lock_guard lock(mutex_);
  communicator_ = std::move(tracked);
  builder_.reset();
  Touch();
  CheckNotAborted(group_epoch);
}

void GroupSession::End() {
  std::shared_ptr<CommunicatorBuilder> builder;
  std::shared_ptr<Communicator> communicator;
  const std::lock_guard lock(mutex_);
  builder.swap(builder_);
  communicator.swap(communicator_);
  epoch_ = 0;
}

void GroupSession::Abort(uint64_t group_epoch) {
  std::shared_ptr<CommunicatorBuilder> builder;
  std::shared_ptr<Communicator> communicator;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t target = group_epoch == 0 ? epoch_.load() : group_epoch;
    if (target > aborted_epoch_.load()) aborted_epoch_ = target;
    if (epoch_.load() == 0 || !IsAborted()) return;
    builder = builder_;
    communicator = communicator_;
  }
  if (builder != nullptr) builder->Abort();
  if (communicator != nullptr) communicator->Abort();
}

void GroupSession::CheckEpoch(uint64_t group_epoch) const {
  if (group_epoch < highest_epoch_.load()) {
    throw Error("STALE_EPOCH", Format("groupEpoch: %llu is below %llu, the highest seen",
                                      Ull{group_epoch}, Ull{highest_epoch_.load()}));
  }
  if (!is_joined() || group_epoch != epoch_.load()) {
    throw Error("NOT_READY", Format("groupEpoch: %llu is not joined", Ull{group_epoch}));
  }
  CheckNotAborted(group_epoch);
}

void GroupSession::CheckNotAborted(uint64_t group_epoch) const {
  if (IsAborted()) ThrowAborted(group_epoch);
}

Progress GroupSession::progress() const {
  Progress progress;
  progress.group_epoch = highest_epoch_.load();
  progress.last_step = last_step_.load();
  progress.collectives = collectives_.load(std::memory_order_relaxed);
  progress.phase = phase_.load(std::memory_order_relaxed);
  progress.in_collective = in_collective_.load(std::memory_order_relaxed);
  progress.last_progress_ns = last_progress_ns_.load(std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  if (communicator_ != nullptr) {
    progress.device_calls = communicator_->device_calls();
    progress.collective = communicator_->Describe();
  }
  return progress;
}

}  // namespace skein
