#include "collective/nccl_handle.h"

#include <chrono>

#include "core/error.h"

namespace skein {
namespace {

using Clock = std::chrono::steady_clock;

// How long an enqueue may stay in progress; the work itself is not bounded here but by the
// coordinator.
constexpr auto kEnqueueLimit = std::chrono::seconds(30);
// How long an abort waits for a call that is being enqueued. Such a call sees the abort within
// microseconds and leaves; one that does not, since the device's queue is full of kernels that
// wait, leaves only through NCCL's abort itself.
constexpr auto kAbortPatience = std::chrono::milliseconds(20);
// How long a communicator that did its work may take to end; a peer may have gone meanwhile.
constexpr auto kFinalizeLimit = std::chrono::seconds(2);
constexpr auto kPollInterval = std::chrono::microseconds(20);

// A non-blocking call answers ncclInProgress; its end is seen in the communicator's state.
void Await(ncclComm_t comm, ncclResult_t result, const char* call, const std::atomic<bool>& aborted,
           Clock::time_point deadline) {
  while (result == ncclInProgress) {
    if (aborted.load()) throw Error("ABORTED", Format("%s was aborted", call));
    if (Clock::now() > deadline) {
      throw Error("COLLECTIVE_ERROR", Format("%s did not finish in time", call));
    }
    std::this_thread::sleep_for(kPollInterval);
    const ncclResult_t asked = ncclCommGetAsyncError(comm, &result);
    if (asked != ncclSuccess) FailNccl(comm, asked, call);
  }
  if (aborted.load()) throw Error("ABORTED", Format("%s was aborted", call));
  if (result != ncclSuccess) FailNccl(comm, result, call);
}

}  // namespace

void FailNccl(ncclComm_t comm, ncclResult_t result, const char* call) {
  const char* detail = comm == nullptr ? "" : ncclGetLastError(comm);
  throw Error("COLLECTIVE_ERROR", Format("%s failed: %s %s", call, ncclGetErrorString(result),
                                         detail == nullptr ? "" : detail));
}

NcclHandle::NcclHandle(const ncclUniqueId& id, int rank, int world_size, int timeout_ms,
                       const std::atomic<bool>& aborted) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t result = ncclCommInitRankConfig(&comm_, world_size, id, rank, &config);
  try {
    Await(comm_, result, "ncclCommInitRankConfig", aborted,
          Clock::now() + std::chrono::milliseconds(timeout_ms));
  } catch (...) {
    if (comm_ != nullptr) ncclCommAbort(comm_);
    throw;
  }
}

NcclHandle::~NcclHandle() {
  if (!aborted_.load() && !has_failed_ && Finalize()) {
    ncclCommDestroy(comm_);
    return;
  }
  Abort();
  abort_thread_.join();
}

bool NcclHandle::Finalize() {
  try {
    Await(comm_, ncclCommFinalize(comm_), "ncclCommFinalize", aborted_,
          Clock::now() + kFinalizeLimit);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void NcclHandle::Call(const char* name, const std::function<ncclResult_t()>& enqueue) {
  const std::lock_guard lock(calling_);
  if (aborted_.load()) throw Error("ABORTED", Format("%s: the group's epoch was aborted", name));
  try {
    Await(comm_, enqueue(), name, aborted_, Clock::now() + kEnqueueLimit);
  } catch (...) {
    has_failed_ = true;
    throw;
  }
}

void NcclHandle::CallThatGoesOn(const char* name, const std::function<ncclResult_t()>& start) {
  Call(name, [&] {
    const ncclResult_t result = start();
    return result == ncclSuccess ? ncclInProgress : result;
  });
}

void NcclHandle::Abort() {
  if (aborted_.exchange(true)) return;
  // ncclCommAbort returns only when no graph holds the communicator any more, so it must not run
  // on the engine's thread.
  abort_thread_ = std::thread([this] {
    const std::unique_lock lock(calling_, kAbortPatience);
    ncclCommAbort(comm_);
  });
}

}  // namespace skein
