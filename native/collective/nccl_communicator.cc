// Collectives over NCCL: one communicator an epoch, non-blocking, safe inside CUDA graphs. The only
// file that includes nccl.h.
//
// Ending one from outside: Abort() raises NCCL's abort flag from a thread of its own,
// so that kernels that wait for a dead peer leave; the engine then finishes its stream and destroys
// its graphs, after which ncclCommAbort, which waits for them, returns.
#include "collective/nccl_communicator.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "collective/builders.h"
#include "collective/nccl_address.h"
#include "collective/parts.h"
#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/kernels/rank_sum.h"
#include "cuda/stream.h"

namespace skein {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(ncclComm_t comm, ncclResult_t result, const char* call) {
  const char* detail = comm == nullptr ? "" : ncclGetLastError(comm);
  throw Error("COLLECTIVE_ERROR", Format("%s failed: %s %s", call, ncclGetErrorString(result),
                                         detail == nullptr ? "" : detail));
}

// A non-blocking call answers ncclInProgress; its end is seen in the communicator's state.
void Await(ncclComm_t comm, ncclResult_t result, const char* call, const std::atomic<bool>& aborted,
           Clock::time_point deadline) {
  while (result == ncclInProgress) {
    if (aborted.load()) throw Error("ABORTED", Format("%s was aborted", call));
    if (Clock::now() > deadline) {
      throw Error("COLLECTIVE_ERROR", Format("%s did not finish in time", call));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    const ncclResult_t asked = ncclCommGetAsyncError(comm, &result);
    if (asked != ncclSuccess) Fail(comm, asked, call);
  }
  if (aborted.load()) throw Error("ABORTED", Format("%s was aborted", call));
  if (result != ncclSuccess) Fail(comm, result, call);
}

ncclDataType_t DataType(DType type) {
  SKEIN_CHECK(type == DType::kBFloat16 || type == DType::kFloat32, "no sum of %s", Name(type));
  return type == DType::kBFloat16 ? ncclBfloat16 : ncclFloat32;
}

// How long an enqueue may stay in progress; the work itself is not bounded here but by the
// coordinator.
constexpr auto kEnqueueLimit = std::chrono::seconds(30);
// How long an abort waits for a call that is being enqueued.
constexpr auto kAbortPatience = std::chrono::milliseconds(500);

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

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(ncclComm_t comm, const NcclOptions& options)
      : comm_(comm),
        rank_(options.rank),
        world_size_(options.world_size),
        deterministic_(options.deterministic),
        is_one_host_(options.is_one_host) {
    if (deterministic_ && world_size_ > 1) SKEIN_CUDA(cudaMalloc(&gathered_, kGatheredBytes));
  }

  ~NcclCommunicator() override {
    Abort();
    if (abort_thread_.joinable()) abort_thread_.join();
    if (gathered_ != nullptr) cudaFree(gathered_);
  }

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
    Call("ncclAllReduce", [&] {
      return ncclAllReduce(data, data, static_cast<size_t>(count), DataType(type),
                           op == ReduceOp::kSum ? ncclSum : ncclMax, comm_,
                           StreamOf(stream).ForLibrary());
    });
  }

  void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) override {
    if (bytes == 0) return;
    Call("ncclAllGather", [&] {
      return ncclAllGather(send, receive, bytes, ncclUint8, comm_, StreamOf(stream).ForLibrary());
    });
  }

  void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) override {
    if (bytes == 0) return;
    Call("ncclBroadcast", [&] {
      return ncclBroadcast(data, data, bytes, ncclUint8, root, comm_,
                           StreamOf(stream).ForLibrary());
    });
  }

  // On one host as a symmetric window, which NCCL's low-latency kernels need; between hosts with
  // the transport. Either is an offer: where NCCL cannot use it, calls take the ordinary way.
  void Register(void* data, size_t bytes) override {
    if (bytes == 0) return;
    // Either may go on after it has answered "success", and no call may come in between.
    const auto started = [](ncclResult_t result) {
      return result == ncclSuccess ? ncclInProgress : result;
    };
    if (is_one_host_) {
      ncclWindow_t& window = windows_.emplace_back(nullptr);
      Call("ncclCommWindowRegister", [&] {
        return started(
            ncclCommWindowRegister(comm_, data, bytes, &window, NCCL_WIN_COLL_SYMMETRIC));
      });
    } else {
      void*& handle = handles_.emplace_back(nullptr);
      Call("ncclCommRegister",
           [&] { return started(ncclCommRegister(comm_, data, bytes, &handle)); });
    }
  }

  void Abort() override {
    if (aborted_.exchange(true)) return;
    // ncclCommAbort returns only when no graph holds the communicator any more, so it must not run
    // on the engine's thread.
    abort_thread_ = std::thread([this] {
      // A call that is being enqueued gets time to leave; one that is stuck, since the device's
      // queue is full of kernels that wait, leaves only through the abort itself.
      const std::unique_lock lock(calling_, kAbortPatience);
      ncclCommAbort(comm_);
    });
  }

  // Waiting happens on the GPU's stream, unseen by the host.
  int64_t TakeWaitNanoseconds() override { return 0; }

 private:
  // Enqueues while no abort frees the communicator.
  template <typename Enqueue>
  void Call(const char* name, const Enqueue& enqueue) {
    const std::lock_guard lock(calling_);
    if (aborted_.load()) throw Error("ABORTED", Format("%s: the group's epoch was aborted", name));
    Await(comm_, enqueue(), name, aborted_, Clock::now() + kEnqueueLimit);
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
        AllGather(part, gathered_, static_cast<size_t>(length * element), &stream);
        cuda::SumInRankOrder(gathered_, world_size_, length, type == DType::kBFloat16, part,
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
    auto* gathered = static_cast<char*>(gathered_);
    const auto block = [&](int rank) { return gathered + static_cast<size_t>(rank) * own_bytes; };
    ExchangeParts(stream, [&](int peer, cudaStream_t fenced) {
      Enqueued(ncclSend(data + parts.ByteBegin(peer), parts.Bytes(peer), ncclUint8, peer, comm_,
                        fenced));
      Enqueued(ncclRecv(block(peer), own_bytes, ncclUint8, peer, comm_, fenced));
    });
    if (own_bytes > 0) {
      SKEIN_CUDA(cudaMemcpyAsync(block(rank_), own, own_bytes, cudaMemcpyDeviceToDevice,
                                 stream.ForDriver()));
      cuda::SumInRankOrder(gathered_, world_size_, parts.Count(rank_), type == DType::kBFloat16,
                           own, stream);
    }
    ExchangeParts(stream, [&](int peer, cudaStream_t fenced) {
      Enqueued(ncclSend(own, own_bytes, ncclUint8, peer, comm_, fenced));
      Enqueued(ncclRecv(data + parts.ByteBegin(peer), parts.Bytes(peer), ncclUint8, peer, comm_,
                        fenced));
    });
  }

  // One group of sends and receives with every other rank, placed on the stream as one.
  void ExchangeParts(cuda::Stream& stream,
                     const std::function<void(int, cudaStream_t)>& with_peer) {
    const cudaStream_t fenced = stream.ForLibrary();
    Call("ncclGroupEnd", [&] {
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
      Fail(comm_, result, "a call inside an NCCL group");
    }
  }

  ncclComm_t comm_;
  const int rank_;
  const int world_size_;
  const bool deterministic_;
  const bool is_one_host_;
  std::atomic<bool> aborted_{false};
  // Held while a call is enqueued.
  std::timed_mutex calling_;
  std::thread abort_thread_;
  // [kGatheredBytes], in deterministic mode.
  void* gathered_ = nullptr;
  // What Register gave; NCCL may fill it in later, so it stays where it is. It ends with the
  // communicator.
  std::deque<ncclWindow_t> windows_;
  std::deque<void*> handles_;
};

class NcclBuilder final : public CommunicatorBuilder {
 public:
  NcclBuilder(const CommunicatorOptions& options, bool deterministic)
      : options_(options), deterministic_(deterministic) {
    if (options_.rank == 0) {
      const ncclResult_t result = ncclGetUniqueId(&id_);
      if (result != ncclSuccess) Fail(nullptr, result, "ncclGetUniqueId");
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
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const ncclResult_t result =
        ncclCommInitRankConfig(&comm, options_.world_size, id_, options_.rank, &config);
    try {
      Await(comm, result, "ncclCommInitRankConfig", aborted_,
            Clock::now() + std::chrono::milliseconds(timeout_ms));
    } catch (...) {
      if (comm != nullptr) ncclCommAbort(comm);
      throw;
    }
    return std::make_unique<NcclCommunicator>(
        comm, NcclOptions{options_.rank, options_.world_size, deterministic_, AreOnOneHost(ranks)});
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

}  // namespace skein
