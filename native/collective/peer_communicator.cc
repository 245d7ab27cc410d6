// All ranks use each other's memory, or none does: each tries, and the worst of the answers is
// taken through NCCL; then words are exchanged and looked at, since there are machines on which
// memory can be opened and what is written there does not arrive.
#include "collective/peer_communicator.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "collective/builders.h"
#include "collective/nccl_address.h"
#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/peer_exchange.h"
#include "cuda/stream.h"

namespace skein {
namespace {

using Clock = std::chrono::steady_clock;
using cuda::PeerExchange;

// A gather of more is bound by the link, which our own would use for a mark beside each word.
constexpr size_t kMostGatherBytes = size_t{1} << 20;
constexpr auto kLookEvery = std::chrono::microseconds(50);
// How long the first exchange may take when all ranks have agreed to it.
constexpr auto kFirstExchangeLimit = std::chrono::seconds(5);

cuda::Stream& StreamOf(DeviceStream* stream) { return *static_cast<cuda::Stream*>(stream); }

class PeerCommunicator final : public Communicator {
 public:
  // Without an exchange: why there is none.
  PeerCommunicator(std::unique_ptr<Communicator> nccl, std::unique_ptr<PeerExchange> exchange,
                   std::string why_not)
      : exchange_(std::move(exchange)), nccl_(std::move(nccl)), why_not_(std::move(why_not)) {}

  int rank() const override { return nccl_->rank(); }
  int world_size() const override { return nccl_->world_size(); }
  const char* kind() const override { return exchange_ ? "peer-memory" : nccl_->kind(); }
  std::string Describe() const override {
    if (exchange_) return "peer-memory";
    return Format("%s (not through the GPUs' own memory: %s)", nccl_->kind(), why_not_.c_str());
  }

  void AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                 DeviceStream* stream) override {
    if (!exchange_ || op != ReduceOp::kSum) {
      nccl_->AllReduce(data, count, type, op, stream);
      return;
    }
    ThrowIfAborted();
    exchange_->Sum(data, count, type, StreamOf(stream));
  }
  bool AllReduceResidualNorm(const ResidualNorm& rows, DeviceStream* stream) override {
    ThrowIfAborted();
    return exchange_ && exchange_->SumResidualNorm(rows, StreamOf(stream));
  }
  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override {
    ThrowIfAborted();
    if (exchange_ && bytes <= kMostGatherBytes &&
        exchange_->Gather(send, receive, bytes, StreamOf(stream))) {
      return;
    }
    nccl_->AllGather(send, receive, bytes, stream);
  }
  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override {
    nccl_->Broadcast(data, bytes, root, stream);
  }

  // Our own exchanges need not know memory beforehand.
  void Register(void* data, size_t bytes) override {
    if (!exchange_) nccl_->Register(data, bytes);
  }

  void Abort() override {
    aborted_.store(true);
    if (exchange_) exchange_->Abort();
    nccl_->Abort();
  }
  uint64_t device_calls() const override {
    return (exchange_ ? exchange_->begun() : 0) + nccl_->device_calls();
  }
  int64_t TakeWaitNanoseconds() override {
    return (exchange_ ? exchange_->TakeWaitNanoseconds() : 0) + nccl_->TakeWaitNanoseconds();
  }

 private:
  void ThrowIfAborted() const {
    if (aborted_.load()) throw Error("ABORTED", "the group's epoch was aborted");
  }

  std::atomic<bool> aborted_{false};
  std::unique_ptr<PeerExchange> exchange_;
  // Goes first: kernels of NCCL that wait leave before memory is given back.
  std::unique_ptr<Communicator> nccl_;
  const std::string why_not_;
};

// The address of NCCL and the handle of the staging memory, which may be empty.
constexpr char kTag[] = "skein-peer-1\n";
constexpr size_t kTagBytes = sizeof(kTag) - 1;

struct PeerAddress {
  std::string nccl, handle;
};

std::string Serialize(const PeerAddress& address) {
  const uint32_t bytes = static_cast<uint32_t>(address.nccl.size());
  return kTag + std::string(reinterpret_cast<const char*>(&bytes), sizeof(bytes)) + address.nccl +
         address.handle;
}

PeerAddress Parse(const std::string& text, size_t rank) {
  uint32_t bytes = 0;
  if (text.size() >= kTagBytes + sizeof(bytes) && text.compare(0, kTagBytes, kTag) == 0) {
    std::memcpy(&bytes, text.data() + kTagBytes, sizeof(bytes));
    const size_t at = kTagBytes + sizeof(bytes);
    if (bytes <= text.size() - at) return {text.substr(at, bytes), text.substr(at + bytes)};
  }
  throw Error("COLLECTIVE_ERROR", Format("address of rank %zu is not an address of a GPU", rank));
}

// What is exchanged first: words that say whose they are, and some of every bit set.
uint32_t FirstWord(int rank, size_t index) {
  return index % 4 == 3 ? 0xffffffffu
                        : static_cast<uint32_t>(rank) * 1000003u + static_cast<uint32_t>(index);
}
constexpr size_t kFirstWords = 4096;

class PeerBuilder final : public CommunicatorBuilder {
 public:
  PeerBuilder(const CommunicatorOptions& options, std::unique_ptr<CommunicatorBuilder> nccl)
      : options_(options), nccl_(std::move(nccl)) {
    const char* wanted = std::getenv("SKEIN_PEER_MEMORY");
    if (options_.world_size < 2 || options_.world_size > cuda::kMostPeerRanks ||
        (wanted != nullptr && std::strcmp(wanted, "0") == 0)) {
      return;
    }
    cuda::PeerExchangeOptions exchange;
    exchange.rank = options_.rank;
    exchange.world_size = options_.world_size;
    exchange_ = std::make_unique<PeerExchange>(exchange);
  }

  std::string LocalAddress() const override {
    return Serialize({nccl_->LocalAddress(), exchange_ == nullptr ? "" : exchange_->handle()});
  }

  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                        int timeout_ms) override {
    CheckAddressCount(addresses, options_.world_size);
    deadline_ = Clock::now() + std::chrono::milliseconds(timeout_ms);
    std::vector<std::string> of_nccl, handles;
    for (size_t rank = 0; rank < addresses.size(); ++rank) {
      PeerAddress address = Parse(addresses[rank], rank);
      of_nccl.push_back(std::move(address.nccl));
      handles.push_back(std::move(address.handle));
    }
    std::unique_ptr<Communicator> nccl = nccl_->Connect(of_nccl, timeout_ms);
    if (options_.world_size == 1) return nccl;
    std::string why_not = WhyNot(*nccl, of_nccl, handles);
    if (!why_not.empty()) exchange_.reset();
    return std::make_unique<PeerCommunicator>(std::move(nccl), std::move(exchange_),
                                              std::move(why_not));
  }

  void Abort() override {
    aborted_.store(true);
    nccl_->Abort();
  }

 private:
  // Empty where all ranks can exchange through each other's memory. Collective.
  std::string WhyNot(Communicator& nccl, const std::vector<std::string>& addresses,
                     const std::vector<std::string>& handles) {
    // What all ranks see alike.
    if (options_.world_size > cuda::kMostPeerRanks) {
      return Format("more than %d ranks", cuda::kMostPeerRanks);
    }
    if (!AreOnOneHost(addresses)) return "not on one host";
    for (size_t rank = 0; rank < handles.size(); ++rank) {
      if (handles[rank].empty()) return Format("switched off at rank %zu", rank);
    }
    // Nothing else runs yet, so a stream of its own is in order.
    cuda::Stream stream;
    std::string why = exchange_->Open(handles);
    if (why.empty() && exchange_->shares_process()) why = "shares its process with another rank";
    if (!Agree(nccl, why.empty(), stream)) {
      return why.empty() ? "another rank cannot reach its peers' memory" : why;
    }
    if (!Agree(nccl, TryFirstExchange(stream), stream)) {
      return "words that a rank wrote did not arrive at another";
    }
    return "";
  }

  static bool AreOnOneHost(const std::vector<std::string>& addresses) {
    std::vector<NcclAddress> ranks;
    for (size_t rank = 0; rank < addresses.size(); ++rank) {
      ranks.push_back(ParseNcclAddress(addresses[rank], static_cast<int>(rank)));
    }
    return skein::AreOnOneHost(ranks);
  }

  // Whether the stream's work ended before `deadline`.
  bool Await(cuda::Stream& stream, Clock::time_point deadline) const {
    cudaEvent_t end = nullptr;
    SKEIN_CUDA(cudaEventCreateWithFlags(&end, cudaEventDisableTiming));
    SKEIN_CUDA(cudaEventRecord(end, stream.ForDriver()));
    cudaError_t status = cudaErrorNotReady;
    while (status == cudaErrorNotReady && !aborted_.load() && Clock::now() < deadline) {
      std::this_thread::sleep_for(kLookEvery);
      status = cudaEventQuery(end);
    }
    cudaEventDestroy(end);
    cudaGetLastError();
    if (status != cudaErrorNotReady) SKEIN_CUDA(status);
    return status == cudaSuccess;
  }

  // Whether it is true on every rank. Collective.
  bool Agree(Communicator& nccl, bool is_true, cuda::Stream& stream) const {
    const cuda::DeviceMemory word(sizeof(float));
    float is_false = is_true ? 0.0f : 1.0f;
    cuda::CopyAndWait(word.data(), &is_false, sizeof(float));
    nccl.AllReduce(word.data(), 1, DType::kFloat32, ReduceOp::kMax, &stream);
    if (!Await(stream, deadline_)) {
      // Before the word goes, which NCCL's kernel is to write.
      nccl.Abort();
      stream.Synchronize();
      if (aborted_.load()) {
        throw Error("ABORTED", "the group's epoch was aborted while it formed");
      }
      throw Error("COLLECTIVE_ERROR", "the ranks did not agree on their means in time");
    }
    cuda::CopyAndWait(&is_false, word.data(), sizeof(float));
    return is_false == 0.0f;
  }

  bool TryFirstExchange(cuda::Stream& stream) const {
    std::vector<uint32_t> words(kFirstWords * static_cast<size_t>(options_.world_size));
    for (size_t i = 0; i < kFirstWords; ++i) words[i] = FirstWord(options_.rank, i);
    const cuda::DeviceMemory send(kFirstWords * 4), receive(words.size() * 4);
    cuda::CopyAndWait(send.data(), words.data(), send.bytes());
    // Both slots.
    for (int turn = 0; turn < 2; ++turn) {
      exchange_->Gather(send.data(), receive.data(), send.bytes(), stream);
    }
    if (!Await(stream, std::min(deadline_, Clock::now() + kFirstExchangeLimit))) {
      exchange_->Abort();
      stream.Synchronize();
      return false;
    }
    cuda::CopyAndWait(words.data(), receive.data(), receive.bytes());
    for (size_t i = 0; i < words.size(); ++i) {
      if (words[i] != FirstWord(static_cast<int>(i / kFirstWords), i % kFirstWords)) return false;
    }
    return true;
  }

  const CommunicatorOptions options_;
  std::unique_ptr<CommunicatorBuilder> nccl_;
  std::unique_ptr<PeerExchange> exchange_;
  Clock::time_point deadline_;
  std::atomic<bool> aborted_{false};
};

}  // namespace

std::unique_ptr<CommunicatorBuilder> MakePeerBuilder(const CommunicatorOptions& options,
                                                     std::unique_ptr<CommunicatorBuilder> nccl) {
  return std::make_unique<PeerBuilder>(options, std::move(nccl));
}

}  // namespace skein
