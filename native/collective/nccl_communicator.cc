// Collectives over NCCL: one communicator an epoch, non-blocking, safe inside CUDA graphs.
//
// Its kernels are not ours: they stand behind a fence (cuda/stream.h). The handle is taken before
// the call, since placing a fence can block as long as the device's queue is full, and an abort
// must not wait for that.
//
// Ending one from outside: Abort() raises NCCL's abort flag from a thread of its own, so that
// kernels that wait for a dead peer leave; the engine then finishes its stream and destroys its
// graphs, after which ncclCommAbort, which waits for them, returns.
#include "collective/nccl_communicator.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>

#include "collective/builders.h"
#include "collective/nccl_address.h"
#include "collective/nccl_handle.h"
#include "collective/nccl_version.h"
#include "collective/parts.h"
#include "core/error.h"
#include "cuda/call_counter.h"
#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/rank_sum.h"
#include "cuda/stream.h"

namespace skein {
namespace {

ncclDataType_t DataType(DType type) {
  SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat32, "no sum of %s", Name(type));
  return type == DType::kBFloat16 ? ncclBfloat16 : ncclFloat32;
}

// Vectors up to this size are gathered whole by every rank before they are summed; longer ones are
// summed in parts.
constexpr size_t kDirectBytes = 256 * 1024;
// Room for what other ranks send; longer vectors go in several rounds.
constexpr size_t kGatheredBytes = size_t{16} << 20;

cuda::Stream& StreamOf(DeviceStream* stream) { return *static_cast<cuda::Stream*>(stream); }

struct NcclOptions {
  int rank = 0;
  int world_size = 1;
  bool deterministic = true;
  // All ranks can reach each other's memory, so that NCCL may use its kernels for it.
  bool is_one_host = false;
};

int LoadedNcclVersion() {
  int version = 0;
  const ncclResult_t result = ncclGetVersion(&version);
  if (result != ncclSuccess) FailNccl(nullptr, result, "ncclGetVersion");
  return version;
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<NcclHandle> handle, const NcclOptions& options)
      : gathered_(options.deterministic && options.world_size > 1 ? kGatheredBytes : 0),
        handle_(std::move(handle)),
        rank_(options.rank),
        world_size_(options.world_size),
        deterministic_(options.deterministic),
        is_one_host_(options.is_one_host) {}

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* kind() const override { return "nccl"; }

  void AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                 DeviceStream* stream) override {
    if (count == 0) return;
    if (deterministic_ && op == ReduceOp::kSum && world_size_ > 1) {
      AllReduceInRankOrder(data, count, type, StreamOf(stream));
      return;
    }
    const cudaStream_t fenced = StreamOf(stream).ForLibrary(&calls_);
    handle_->Call("ncclAllReduce", [&] {
      return ncclAllReduce(data, data, static_cast<size_t>(count), DataType(type),
                           op == ReduceOp::kSum ? ncclSum : ncclMax, handle_->get(), fenced);
    });
  }

  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override {
    if (bytes == 0) return;
    const cudaStream_t fenced = StreamOf(stream).ForLibrary(&calls_);
    handle_->Call("ncclAllGather", [&] {
      return ncclAllGather(send, receive, bytes, ncclUint8, handle_->get(), fenced);
    });
  }

  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override {
    if (bytes == 0) return;
    const cudaStream_t fenced = StreamOf(stream).ForLibrary(&calls_);
    handle_->Call("ncclBroadcast", [&] {
      return ncclBroadcast(data, data, bytes, ncclUint8, root, handle_->get(), fenced);
    });
  }

  // On one host as a symmetric window, which NCCL's low-latency kernels need; between hosts with
  // the transport. Either is an offer: where NCCL cannot use it, calls take the ordinary way. All
  // ranks register the same, once, before any step is recorded, and it stays as long as the
  // communicator: a window that changes under a recorded graph gives wrong sums.
  void Register(void* data, size_t bytes) override {
    if (bytes == 0) return;
    if (is_one_host_) {
      RegisterWindow(data, bytes);
    } else {
      RegisterBuffer(data, bytes);
    }
  }

  void Abort() override { handle_->Abort(); }

  uint64_t device_calls() const override { return calls_.value(); }
  // Waiting happens on the GPU's stream, unseen by the host.
  int64_t TakeWaitNanoseconds() override { return 0; }

 private:
  void RegisterWindow([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 3)
    if (!ChooseNcclWindows(LoadedNcclVersion(), std::getenv("NCCL_WIN_ENABLE")).are_used) return;
    ncclWindow_t& window = windows_.emplace_back(nullptr);
    handle_->CallThatGoesOn("ncclCommWindowRegister", [&] {
      return ncclCommWindowRegister(handle_->get(), data, bytes, &window, NCCL_WIN_COLL_SYMMETRIC);
    });
#endif
  }
  void RegisterBuffer([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 19, 1)
    void*& handle = handles_.emplace_back(nullptr);
    handle_->CallThatGoesOn("ncclCommRegister",
                            [&] { return ncclCommRegister(handle_->get(), data, bytes, &handle); });
#endif
  }

  // In rank order, since NCCL's own order depends on its rings. Short vectors: every rank gathers
  // all and adds. Long ones: each rank adds its part and hands the sum on, so that what travels
  // does not grow with the world size.
  void AllReduceInRankOrder(void* data, int64_t count, DType type, cuda::Stream& stream) {
    const auto element = static_cast<int64_t>(SizeOf(type));
    const bool is_direct = world_size_ == 2 || static_cast<size_t>(count * element) <= kDirectBytes;
    const auto room = static_cast<int64_t>(kGatheredBytes) / element;
    const int64_t step = is_direct ? room / world_size_ : room - 64 * world_size_;
    for (int64_t done = 0; done < count; done += step) {
      char* part = static_cast<char*>(data) + done * element;
      const int64_t length = std::min(step, count - done);
      if (is_direct) {
        AllGather(part, gathered_.data(), static_cast<size_t>(length * element), &stream);
        cuda::SumInRankOrder(gathered_.data(), world_size_, length, type == DType::kBFloat16, part,
                             stream);
      } else {
        SumInParts(part, length, type, stream);
      }
    }
  }

  void SumInParts(char* data, int64_t count, DType type, cuda::Stream& stream) {
    const Parts parts(count, world_size_, SizeOf(type));
    const size_t own_bytes = parts.Bytes(rank_);
    char* own = data + parts.ByteBegin(rank_);
    auto* gathered = gathered_.As<char>();
    const auto block = [&](int rank) { return gathered + static_cast<size_t>(rank) * own_bytes; };
    ExchangeParts(stream, [&](int peer, cudaStream_t fenced) {
      Enqueued(ncclSend(data + parts.ByteBegin(peer), parts.Bytes(peer), ncclUint8, peer,
                        handle_->get(), fenced));
      Enqueued(ncclRecv(block(peer), own_bytes, ncclUint8, peer, handle_->get(), fenced));
    });
    if (own_bytes > 0) {
      SKEIN_CUDA(cudaMemcpyAsync(block(rank_), own, own_bytes, cudaMemcpyDeviceToDevice,
                                 stream.ForDriver()));
      cuda::SumInRankOrder(gathered_.data(), world_size_, parts.Count(rank_),
                           type == DType::kBFloat16, own, stream);
    }
    ExchangeParts(stream, [&](int peer, cudaStream_t fenced) {
      Enqueued(ncclSend(own, own_bytes, ncclUint8, peer, handle_->get(), fenced));
      Enqueued(ncclRecv(data + parts.ByteBegin(peer), parts.Bytes(peer), ncclUint8, peer,
                        handle_->get(), fenced));
    });
  }

  // One group of sends and receives with every other rank, placed on the stream as one.
  void ExchangeParts(cuda::Stream& stream,
                     const std::function<void(int, cudaStream_t)>& with_peer) {
    const cudaStream_t fenced = stream.ForLibrary(&calls_);
    handle_->Call("ncclGroupEnd", [&] {
      Enqueued(ncclGroupStart());
      for (int peer = 0; peer < world_size_; ++peer) {
        if (peer != rank_) with_peer(peer, fenced);
      }
      return ncclGroupEnd();
    });
  }

  // Inside a group calls are only noted down.
  void Enqueued(ncclResult_t result) const {
    if (result != ncclSuccess && result != ncclInProgress) {
      FailNccl(handle_->get(), result, "a call inside an NCCL group");
    }
  }

  // These before the handle, whose end waits for what uses them.
  const cuda::CallCounter calls_;
  // [kGatheredBytes], in deterministic mode.
  const cuda::DeviceMemory gathered_;
  // What Register gave; NCCL may fill it in later, so it stays where it is. It ends with the
  // communicator.
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 27, 3)
  std::deque<ncclWindow_t> windows_;
#endif
  std::deque<void*> handles_;
  const std::unique_ptr<NcclHandle> handle_;
  const int rank_;
  const int world_size_;
  const bool deterministic_;
  const bool is_one_host_;
};

class NcclBuilder final : public CommunicatorBuilder {
 public:
  NcclBuilder(const CommunicatorOptions& options, bool deterministic)
      : options_(options), deterministic_(deterministic) {
    if (options_.rank == 0) {
      const ncclResult_t result = ncclGetUniqueId(&id_);
      if (result != ncclSuccess) FailNccl(nullptr, result, "ncclGetUniqueId");
    }
  }

  std::string LocalAddress() const override {
    NcclAddress address;
    address.host = NcclHost();
    int device = 0;
    char bus_id[32] = "";
    SKEIN_CUDA(cudaGetDevice(&device));
    SKEIN_CUDA(cudaDeviceGetPCIBusId(bus_id, sizeof(bus_id), device));
    address.pci_bus_id = bus_id;
    if (options_.rank == 0) address.unique_id.assign(id_.internal, sizeof(id_.internal));
    return SerializeNcclAddress(address);
  }

  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                        int timeout_ms) override {
    CheckAddressCount(addresses, options_.world_size);
    std::vector<NcclAddress> ranks;
    for (size_t rank = 0; rank < addresses.size(); ++rank) {
      ranks.push_back(ParseNcclAddress(addresses[rank], static_cast<int>(rank)));
    }
    CheckDistinctDevices(ranks);
    if (ranks[0].unique_id.size() != sizeof(id_.internal)) {
      throw Error("COLLECTIVE_ERROR", "the address of rank 0 holds no unique id of NCCL");
    }
    std::memcpy(id_.internal, ranks[0].unique_id.data(), sizeof(id_.internal));
    auto handle =
        std::make_unique<NcclHandle>(id_, options_.rank, options_.world_size, timeout_ms, aborted_);
    return std::make_unique<NcclCommunicator>(
        std::move(handle),
        NcclOptions{options_.rank, options_.world_size, deterministic_, AreOnOneHost(ranks)});
  }

  void Abort() override { aborted_.store(true); }

 private:
  const CommunicatorOptions options_;
  const bool deterministic_;
  ncclUniqueId id_{};
  std::atomic<bool> aborted_{false};
};

}  // namespace

std::unique_ptr<CommunicatorBuilder> MakeNcclBuilder(const CommunicatorOptions& options,
                                                     bool deterministic) {
  return std::make_unique<NcclBuilder>(options, deterministic);
}

std::string DescribeNccl() {
  const int version = LoadedNcclVersion();
  const NcclWindows windows = ChooseNcclWindows(version, std::getenv("NCCL_WIN_ENABLE"));
  return Format("NCCL %s, symmetric windows %s: %s", NcclVersionText(version).c_str(),
                windows.are_used ? "used" : "not used", windows.why.c_str());
}

}  // namespace skein
