// Collectives over a shared segment; what the shared-memory and the local groups are made of.
#pragma once

#include <memory>

#include "collective/communicator.h"
#include "collective/segment_barrier.h"

namespace skein {

class SegmentCommunicator final : public Communicator {
 public:
  // `kind` is a literal: "shared-memory" or "local".
  SegmentCommunicator(std::shared_ptr<SegmentBarrier> barrier, const char* kind);

  int rank() const override { return barrier_->rank(); }
  int world_size() const override { return barrier_->world_size(); }
  const char* kind() const override { return kind_; }
  void AllReduce(void* data, int64_t count, DType type, ReduceOp op, DeviceStream* stream) override;
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override;
  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override;
  void Abort() override { barrier_->Abort(); }
  int64_t TakeWaitNanoseconds() override { return barrier_->TakeWaitNanoseconds(); }

 private:
  // Each reduces one chunk that fits a slot.
  void AllReduceDirect(std::byte* data, int64_t count, DType type, ReduceOp op);
  void AllReduceInParts(std::byte* data, int64_t count, DType type, ReduceOp op);
  // The rank's slot for the exchange that begins.
  std::byte* NextSlot(int rank) const;

  std::shared_ptr<SegmentBarrier> barrier_;
  const char* kind_;
  // Parity of the exchange: each uses the slots that the one before did not. A rank enters the
  // barrier of exchange e only when it has read everything of e - 1, so after that barrier the
  // slots of e - 1 may be written again.
  int parity_ = 0;
};

}  // namespace skein
