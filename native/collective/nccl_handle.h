// Owns a communicator of NCCL's: calls from one thread, an abort from any, and an end in order.
#pragma once

#include <nccl.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace skein {

// Throws COLLECTIVE_ERROR with what NCCL says.
[[noreturn]] void FailNccl(ncclComm_t comm, ncclResult_t result, const char* call);

class NcclHandle {
 public:
  // Connects; not blocking. Throws COLLECTIVE_ERROR on time-out, ABORTED once `aborted` is set.
  NcclHandle(const ncclUniqueId& id, int rank, int world_size, int timeout_ms,
             const std::atomic<bool>& aborted);
  // After calls that all went well: finalizes, for at most a while. Otherwise aborts.
  ~NcclHandle();
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  ncclComm_t get() const { return comm_; }
  // Enqueues, and waits until NCCL has; the work itself is not awaited. Throws COLLECTIVE_ERROR,
  // and ABORTED after Abort.
  void Call(const char* name, const std::function<ncclResult_t()>& enqueue);
  // A call that answers "success" and may yet go on (registration): waits for its end.
  void CallThatGoesOn(const char* name, const std::function<ncclResult_t()>& start);
  // Raises NCCL's abort flag, so that kernels which wait for a peer leave. Returns at once.
  void Abort();

 private:
  bool Finalize();

  ncclComm_t comm_ = nullptr;
  std::atomic<bool> aborted_{false};
  bool has_failed_ = false;
  // Held while a call is enqueued.
  std::timed_mutex calling_;
  std::thread abort_thread_;
};

}  // namespace skein
