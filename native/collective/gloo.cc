// Collectives over Gloo's transport: every rank sends to every other and reduces in rank order.
// (Gloo's own all-reduce is slower at these sizes, and its order of summation differs between
// ranks.)
#include <algorithm>
#include <cstring>
#include <mutex>

#include "collective/builders.h"
#include "collective/gloo_transport.h"
#include "collective/parts.h"
#include "collective/reduce.h"
#include "core/error.h"

namespace skein {
namespace {

// Up to here every rank sends everything to all (one exchange); above, each reduces its part and
// sends that on (two exchanges, fewer bytes). Measured: docs/collectives.md.
constexpr size_t kDirectBytes = 64 * 1024;

class GlooCommunicator final : public Communicator {
 public:
  explicit GlooCommunicator(std::shared_ptr<GlooTransport> transport)
      : transport_(std::move(transport)) {}

  int rank() const override { return transport_->rank(); }
  int world_size() const override { return transport_->world_size(); }
  const char* kind() const override { return "gloo"; }
  void AllReduce(void* data, int64_t count, DType type, ReduceOp op, DeviceStream* stream) override;
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override;
  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override;
  void Abort() override { transport_->Abort(); }
  int64_t TakeWaitNanoseconds() override { return transport_->TakeWaitNanoseconds(); }

 private:
  void AllReduceDirect(std::byte* data, int64_t count, DType type, ReduceOp op);
  void AllReduceInParts(std::byte* data, int64_t count, DType type, ReduceOp op);
  // Calls `body` for every other rank, beginning after the own one, so that not all send to rank 0
  // first.
  template <typename Body>
  void ForEachPeer(const Body& body) const {
    for (int i = 1; i < world_size(); ++i) body((rank() + i) % world_size());
  }

  std::shared_ptr<GlooTransport> transport_;
};

void GlooCommunicator::AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                                 DeviceStream*) {
  CheckReducible(type);
  transport_->ThrowIfOver();
  const auto size = static_cast<int64_t>(SizeOf(type));
  const int64_t chunk = static_cast<int64_t>(transport_->message_bytes()) / size;
  auto* bytes = static_cast<std::byte*>(data);
  for (int64_t start = 0; start < count; start += chunk) {
    const int64_t n = std::min(chunk, count - start);
    // Of two ranks each needs all that the other has: a second exchange would save nothing.
    if (world_size() == 2 || static_cast<size_t>(n * size) <= kDirectBytes) {
      AllReduceDirect(bytes + start * size, n, type, op);
    } else {
      AllReduceInParts(bytes + start * size, n, type, op);
    }
  }
}

void GlooCommunicator::AllReduceDirect(std::byte* data, int64_t count, DType type, ReduceOp op) {
  const size_t bytes = static_cast<size_t>(count) * SizeOf(type);
  std::memcpy(transport_->send_buffer(), data, bytes);
  ForEachPeer([&](int peer) { transport_->Send(peer, 0, bytes); });
  std::vector<const void*> inputs(static_cast<size_t>(world_size()), data);
  ForEachPeer([&](int peer) { inputs[static_cast<size_t>(peer)] = transport_->Receive(peer); });
  ReduceInRankOrder(inputs, count, type, op, data);
  transport_->FinishSends();
}

void GlooCommunicator::AllReduceInParts(std::byte* data, int64_t count, DType type, ReduceOp op) {
  const Parts parts(count, world_size(), SizeOf(type));
  const size_t own_begin = parts.ByteBegin(rank());
  const size_t own_bytes = parts.Bytes(rank());
  std::byte* staging = transport_->send_buffer();
  std::memcpy(staging, data, static_cast<size_t>(count) * SizeOf(type));
  ForEachPeer([&](int peer) {
    if (parts.Bytes(peer) > 0) transport_->Send(peer, parts.ByteBegin(peer), parts.Bytes(peer));
  });
  if (own_bytes > 0) {
    std::vector<const void*> inputs(static_cast<size_t>(world_size()), data + own_begin);
    ForEachPeer([&](int peer) { inputs[static_cast<size_t>(peer)] = transport_->Receive(peer); });
    ReduceInRankOrder(inputs, parts.Count(rank()), type, op, data + own_begin);
    // The own part of the staging memory is in no send of the first exchange.
    std::memcpy(staging + own_begin, data + own_begin, own_bytes);
    ForEachPeer([&](int peer) { transport_->Send(peer, own_begin, own_bytes); });
  }
  ForEachPeer([&](int peer) {
    if (parts.Bytes(peer) == 0) return;
    std::memcpy(data + parts.ByteBegin(peer), transport_->Receive(peer), parts.Bytes(peer));
  });
  transport_->FinishSends();
}

void GlooCommunicator::AllGather(const void* send, void* receive, size_t bytes, DeviceStream*) {
  transport_->ThrowIfOver();
  const auto* in = static_cast<const std::byte*>(send);
  auto* out = static_cast<std::byte*>(receive);
  const auto block = [&](int r) { return out + static_cast<size_t>(r) * bytes; };
  const size_t chunk = transport_->message_bytes();
  for (size_t start = 0; start < bytes; start += chunk) {
    const size_t n = std::min(chunk, bytes - start);
    std::memcpy(transport_->send_buffer(), in + start, n);
    ForEachPeer([&](int peer) { transport_->Send(peer, 0, n); });
    if (block(rank()) != in) std::memcpy(block(rank()) + start, in + start, n);
    ForEachPeer([&](int peer) { std::memcpy(block(peer) + start, transport_->Receive(peer), n); });
    transport_->FinishSends();
  }
}

void GlooCommunicator::Broadcast(void* data, size_t bytes, int root, DeviceStream*) {
  CheckRoot(root, world_size());
  transport_->ThrowIfOver();
  auto* out = static_cast<std::byte*>(data);
  const size_t chunk = transport_->message_bytes();
  for (size_t start = 0; start < bytes; start += chunk) {
    const size_t n = std::min(chunk, bytes - start);
    if (rank() != root) {
      std::memcpy(out + start, transport_->Receive(root), n);
      continue;
    }
    std::memcpy(transport_->send_buffer(), out + start, n);
    ForEachPeer([&](int peer) { transport_->Send(peer, 0, n); });
    transport_->FinishSends();
  }
}

class GlooBuilder final : public CommunicatorBuilder {
 public:
  explicit GlooBuilder(const CommunicatorOptions& options)
      : transport_(std::make_shared<GlooTransport>(options)),
        watched_(transport_),
        address_(transport_->LocalAddress()) {}

  std::string LocalAddress() const override { return address_; }
  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                        int timeout_ms) override {
    // The builder keeps neither a group alive that it has handed out nor connections that failed:
    // peers see those close.
    const auto transport = std::exchange(transport_, nullptr);
    SKEIN_CHECK(transport != nullptr, "Connect is called once");
    transport->Connect(addresses,
                       std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms));
    return std::make_unique<GlooCommunicator>(transport);
  }
  void Abort() override {
    if (const auto transport = watched_.lock()) transport->Abort();
  }

 private:
  std::shared_ptr<GlooTransport> transport_;
  std::weak_ptr<GlooTransport> watched_;
  std::string address_;
};

}  // namespace

std::unique_ptr<CommunicatorBuilder> MakeGlooBuilder(const CommunicatorOptions& options) {
  constexpr int kMaxRanks = 64;
  if (options.world_size > kMaxRanks) {
    throw Error("INVALID_REQUEST", Format("world size %d: Gloo groups have at most %d ranks",
                                          options.world_size, kMaxRanks));
  }
  return std::make_unique<GlooBuilder>(options);
}

}  // namespace skein
