// The exchanges: write the own slot, meet, read the slots of the others. Longer data goes in chunks
// of one slot.
#include "collective/segment_communicator.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "collective/builders.h"
#include "collective/parts.h"
#include "collective/reduce.h"

namespace skein {
namespace {

// Up to so many bytes, read by all ranks together, every rank reduces everything (one barrier);
// above, each reduces its part and all read the parts (two barriers, but each byte is read a fixed
// number of times). Measured: docs/collectives.md.
constexpr size_t kDirectBytes = 256 * 1024;

}  // namespace

SegmentCommunicator::SegmentCommunicator(std::shared_ptr<SegmentBarrier> barrier, const char* kind)
    : barrier_(std::move(barrier)), kind_(kind) {}

std::byte* SegmentCommunicator::NextSlot(int rank) const {
  return barrier_->segment().Slot(rank, parity_);
}

void SegmentCommunicator::AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                                    DeviceStream*) {
  CheckReducible(type);
  barrier_->ThrowIfOver();
  const auto size = static_cast<int64_t>(SizeOf(type));
  const int64_t chunk = static_cast<int64_t>(barrier_->segment().slot_bytes()) / size;
  auto* bytes = static_cast<std::byte*>(data);
  for (int64_t start = 0; start < count; start += chunk) {
    const int64_t n = std::min(chunk, count - start);
    if (static_cast<size_t>(n * size * world_size()) <= kDirectBytes) {
      AllReduceDirect(bytes + start * size, n, type, op);
    } else {
      AllReduceInParts(bytes + start * size, n, type, op);
    }
    parity_ ^= 1;
  }
}

void SegmentCommunicator::AllReduceDirect(std::byte* data, int64_t count, DType type, ReduceOp op) {
  std::memcpy(NextSlot(rank()), data, static_cast<size_t>(count) * SizeOf(type));
  barrier_->Arrive();
  std::array<const void*, kMaxSegmentRanks> inputs;
  for (int r = 0; r < world_size(); ++r) inputs[static_cast<size_t>(r)] = NextSlot(r);
  ReduceInRankOrder({inputs.data(), static_cast<size_t>(world_size())}, count, type, op, data);
}

void SegmentCommunicator::AllReduceInParts(std::byte* data, int64_t count, DType type,
                                           ReduceOp op) {
  const Parts parts(count, world_size(), SizeOf(type));
  const size_t begin = parts.ByteBegin(rank());
  const size_t end = parts.ByteBegin(rank() + 1);

  // The own part stays where it is: only this rank reads it.
  std::byte* own = NextSlot(rank());
  std::memcpy(own, data, begin);
  std::memcpy(own + end, data + end, static_cast<size_t>(count) * SizeOf(type) - end);
  barrier_->Arrive();

  std::array<const void*, kMaxSegmentRanks> inputs;
  for (int r = 0; r < world_size(); ++r) {
    inputs[static_cast<size_t>(r)] = (r == rank() ? data : NextSlot(r)) + begin;
  }
  // Nobody else reads or writes the own part of the own slot before the second barrier.
  ReduceInRankOrder({inputs.data(), static_cast<size_t>(world_size())}, parts.Count(rank()), type,
                    op, own + begin);
  std::memcpy(data + begin, own + begin, end - begin);
  barrier_->Arrive();
  for (int r = 0; r < world_size(); ++r) {
    if (r == rank()) continue;
    std::memcpy(data + parts.ByteBegin(r), NextSlot(r) + parts.ByteBegin(r), parts.Bytes(r));
  }
}

void SegmentCommunicator::AllGather(const void* send, void* receive, size_t bytes, DeviceStream*) {
  barrier_->ThrowIfOver();
  const size_t chunk = barrier_->segment().slot_bytes();
  const auto* in = static_cast<const std::byte*>(send);
  auto* out = static_cast<std::byte*>(receive);
  for (size_t start = 0; start < bytes; start += chunk) {
    const size_t n = std::min(chunk, bytes - start);
    std::memcpy(NextSlot(rank()), in + start, n);
    barrier_->Arrive();
    for (int r = 0; r < world_size(); ++r) {
      std::byte* block = out + static_cast<size_t>(r) * bytes + start;
      if (r != rank()) {
        std::memcpy(block, NextSlot(r), n);
      } else if (block != in + start) {
        std::memcpy(block, in + start, n);
      }
    }
    parity_ ^= 1;
  }
}

void SegmentCommunicator::Broadcast(void* data, size_t bytes, int root, DeviceStream*) {
  CheckRoot(root, world_size());
  barrier_->ThrowIfOver();
  const size_t chunk = barrier_->segment().slot_bytes();
  auto* out = static_cast<std::byte*>(data);
  for (size_t start = 0; start < bytes; start += chunk) {
    const size_t n = std::min(chunk, bytes - start);
    if (rank() == root) std::memcpy(NextSlot(root), out + start, n);
    barrier_->Arrive();
    if (rank() != root) std::memcpy(out + start, NextSlot(root), n);
    parity_ ^= 1;
  }
}

}  // namespace skein
