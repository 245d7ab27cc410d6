// Collectives over NCCL: one communicator an epoch, non-blocking, safe inside CUDA graphs. The only
// file that includes nccl.h.
//
// Ending one from outside (design.md 4): Abort() raises NCCL's abort flag from a thread of its own,
// so that kernels that wait for a dead peer leave; the engine then finishes its stream and destroys
// its graphs, after which ncclCommAbort, which waits for them, returns.
#include "collective/nccl_communicator.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/kernels/rank_sum.h"

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

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(ncclComm_t comm, int rank, int world_size, bool deterministic)
      : comm_(comm), rank_(rank), world_size_(world_size), deterministic_(deterministic) {}

  ~NcclCommunicator() override {
    Abort();
    if (abort_thread_.joinable()) abort_thread_.join();
    if (gathered_ != nullptr) cudaFree(gathered_);
    if (barrier_word_ != nullptr) cudaFree(barrier_word_);
  }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* kind() const override { return "nccl"; }

  void AllReduce(void* data, int64_t count, DType type, ReduceOp op, void* stream) override {
    if (count == 0) return;
    const auto cuda_stream = static_cast<cudaStream_t>(stream);
    if (deterministic_ && op == ReduceOp::kSum && world_size_ > 1) {
      AllReduceInRankOrder(data, count, type, cuda_stream);
      return;
    }
    Call("ncclAllReduce", [&] {
      return ncclAllReduce(data, data, static_cast<size_t>(count), DataType(type),
                           op == ReduceOp::kSum ? ncclSum : ncclMax, comm_, cuda_stream);
    });
  }

  void AllGather(const void* send, void* receive, size_t bytes, void* stream) override {
    if (bytes == 0) return;
    Call("ncclAllGather", [&] {
      return ncclAllGather(send, receive, bytes, ncclUint8, comm_,
                           static_cast<cudaStream_t>(stream));
    });
  }

  void Broadcast(void* data, size_t bytes, int root, void* stream) override {
    if (bytes == 0) return;
    Call("ncclBroadcast", [&] {
      return ncclBroadcast(data, data, bytes, ncclUint8, root, comm_,
                           static_cast<cudaStream_t>(stream));
    });
  }

  void Barrier() override {
    if (barrier_word_ == nullptr) SKEIN_CUDA(cudaMalloc(&barrier_word_, sizeof(float)));
    AllReduce(barrier_word_, 1, DType::kFloat32, ReduceOp::kMax, nullptr);
    SKEIN_CUDA(cudaStreamSynchronize(nullptr));
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

  // Gathers every rank's vector and adds in rank order: NCCL's own order depends on its rings.
  void AllReduceInRankOrder(void* data, int64_t count, DType type, cudaStream_t stream) {
    const size_t bytes = static_cast<size_t>(count) * SizeOf(type);
    const size_t needed = bytes * static_cast<size_t>(world_size_);
    if (needed > gathered_bytes_) {
      SKEIN_CUDA(cudaStreamSynchronize(stream));
      if (gathered_ != nullptr) SKEIN_CUDA(cudaFree(gathered_));
      SKEIN_CUDA(cudaMalloc(&gathered_, needed));
      gathered_bytes_ = needed;
    }
    AllGather(data, gathered_, bytes, stream);
    cuda::SumInRankOrder(gathered_, world_size_, count, type == DType::kBFloat16, data, stream);
  }

  ncclComm_t comm_;
  const int rank_;
  const int world_size_;
  const bool deterministic_;
  std::atomic<bool> aborted_{false};
  // Held while a call is enqueued.
  std::timed_mutex calling_;
  std::thread abort_thread_;
  void* gathered_ = nullptr;
  size_t gathered_bytes_ = 0;
  float* barrier_word_ = nullptr;
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

  // Only rank 0 has something to hand out.
  std::string LocalAddress() const override {
    return options_.rank == 0 ? std::string(id_.internal, sizeof(id_.internal)) : std::string();
  }

  std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                        int timeout_ms) override {
    if (addresses.size() != static_cast<size_t>(options_.world_size) ||
        addresses[0].size() != sizeof(id_.internal)) {
      throw Error("INVALID_REQUEST",
                  "addresses: expected one per rank and NCCL's unique id from rank 0");
    }
    std::memcpy(id_.internal, addresses[0].data(), sizeof(id_.internal));
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
    return std::make_unique<NcclCommunicator>(comm, options_.rank, options_.world_size,
                                              deterministic_);
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
