// Messages between the ranks of a group over Gloo's TCP transport: joining, sending, receiving,
// noticing lost peers, abort. Reduces nothing. The only part that knows Gloo; none of its types or
// exceptions leave gloo_transport.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace skein {

class GlooTransport {
 public:
  // Starts listening; one port per peer or one in all, as the version of Gloo has it.
  explicit GlooTransport(const CommunicatorOptions& options);
  ~GlooTransport();
  GlooTransport(const GlooTransport&) = delete;
  GlooTransport& operator=(const GlooTransport&) = delete;

  int rank() const;
  int world_size() const;
  std::string LocalAddress() const;
  // Returns when every pair of ranks is connected and has agreed on the epoch.
  void Connect(const std::vector<std::string>& addresses,
               std::chrono::steady_clock::time_point deadline);

  // Bytes of a message at most.
  size_t message_bytes() const;
  // What Send sends from; [message_bytes()]. May be written again after FinishSends.
  std::byte* send_buffer() const;
  // Messages between two ranks arrive in the order in which they were sent.
  void Send(int peer, size_t offset, size_t bytes);
  void FinishSends();
  // The next message of `peer`; valid until the next Receive from it.
  const std::byte* Receive(int peer);

  void ThrowIfOver() const;
  // Any thread; wakes Connect and every wait.
  void Abort();
  int64_t TakeWaitNanoseconds();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skein
