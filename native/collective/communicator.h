// Collectives between the ranks of one group, in one epoch. One interface; implementations: none
// (world size 1), threads of one process (tests), shared memory (CPU ranks of one host), Gloo's TCP
// transport (ranks anywhere), NCCL.
//
// Numeric contract: sums are taken in rank order in float32 and rounded once, so that every rank
// gets the same bits and the bits of an element depend on nothing but that element's inputs and the
// world size. Calls are collective: every rank makes the same calls in the same order, from one
// thread. Abort may come from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "collective/residual_norm.h"
#include "core/device_stream.h"
#include "core/dtype.h"

namespace skein {

enum class ReduceOp : uint8_t { kSum, kMax };

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  // Short name for logs and results: "none", "shared-memory", "gloo", "nccl",
  // "peer-memory" (NCCL, with our own exchanges beside it).
  virtual const char* kind() const = 0;

  // In place over `count` elements of float32 or bfloat16. `stream` is the back end's (nullptr on
  // CPU: done when it returns). Throws Error(COLLECTIVE_ERROR) when a peer is lost, Error(ABORTED)
  // after Abort.
  virtual void AllReduce(void* data, int64_t count, DType type, ReduceOp op,
                         DeviceStream* stream) = 0;
  // The end of a row-parallel product in one pass (residual_norm.h), where the transport has such a
  // one for these shapes; otherwise false, and nothing is done. The same on all ranks.
  virtual bool AllReduceResidualNorm(const ResidualNorm& /*rows*/, DeviceStream* /*stream*/) {
    return false;
  }
  // `receive` holds world_size blocks of `bytes` in rank order; `send` may lie in the own block.
  virtual void AllGather(const void* send, void* receive, size_t bytes, DeviceStream* stream) = 0;
  virtual void Broadcast(void* data, size_t bytes, int root, DeviceStream* stream) = 0;
  // Memory that later calls reduce in place, for transports that are faster on what they know.
  // Collective: every rank registers the same sizes in the same order. It outlives the
  // communicator.
  virtual void Register(void* /*data*/, size_t /*bytes*/) {}

  // Wakes this rank's waiting call within 50 ms, and lets every later call throw Error(ABORTED).
  // Any thread, any number of times.
  virtual void Abort() = 0;

  // Calls that a device has begun, those of recorded steps too, which its host does not see: a rank
  // with fewer than the others has not got there yet, one with as many waits for them. Any thread;
  // 0 where the calls return when they are done.
  virtual uint64_t device_calls() const { return 0; }

  // Nanoseconds spent waiting in collectives since the last call; resets. Only from the thread that
  // makes the calls.
  virtual int64_t TakeWaitNanoseconds() = 0;
};

enum class CollectiveKind : uint8_t { kNone = 1, kSharedMemory = 2, kGloo = 3, kNccl = 4 };

// Joining in two phases: every rank opens its end and hands out an opaque address; then every rank
// receives all addresses.
class CommunicatorBuilder {
 public:
  virtual ~CommunicatorBuilder() = default;
  // Opaque; at most 4 KiB.
  virtual std::string LocalAddress() const = 0;
  // Blocks until all ranks are connected. Called at most once. Throws COLLECTIVE_ERROR on time-out,
  // ABORTED after Abort.
  virtual std::unique_ptr<Communicator> Connect(const std::vector<std::string>& addresses,
                                                int timeout_ms) = 0;
  // From any thread; a waiting Connect throws within 50 ms.
  virtual void Abort() = 0;
};

struct CommunicatorOptions {
  CollectiveKind kind = CollectiveKind::kNone;
  int rank = 0;
  int world_size = 1;
  uint64_t group_epoch = 0;
  // Gloo: address of the interface to listen on; empty: 127.0.0.1.
  std::string bind_host;
  // NCCL: sums in rank order, at the price of a gather; otherwise in NCCL's own. The other kinds
  // always sum in rank order.
  bool deterministic = true;
};

std::unique_ptr<CommunicatorBuilder> MakeCommunicatorBuilder(const CommunicatorOptions& options);

// What GPUs use, and why not what else, as doctor says it; "" in a build without.
std::string DescribeDeviceCollectives();

// World size `n` inside one process, one thread a rank; for tests.
std::vector<std::unique_ptr<Communicator>> MakeLocalGroup(int world_size);

}  // namespace skein
