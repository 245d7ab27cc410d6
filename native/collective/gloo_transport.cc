// Gloo's transport as this project uses it: its connections and their thread, with buffers that
// live as long as the group.
//
// What it does not do by itself, and what is done about it here (seen in versions of 2022 and
// 2023):
//  - It has no abort for a group: abortWaitRecv and abortWaitSend are called on every buffer.
//  - A time-out in a wait closes all connections: waits have none but where the group is over
//  anyway.
//  - When a connection breaks, only buffers whose message has not begun are told. A receive that is
//  never answered (the sentinel) stands
//    on every connection; a thread waits for it to fail and wakes the others.
//  - connect() waits five times the time-out that was set when the pair was made: a watchdog closes
//  the pair at the deadline.
//  - An unknown host name is not noticed: names are resolved here.
#include "collective/gloo_transport.h"

#include <gloo/transport/address.h>
#include <gloo/transport/context.h>
#include <gloo/transport/device.h>
#include <gloo/transport/pair.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "collective/builders.h"
#include "collective/gloo_address.h"
#include "core/error.h"

namespace skein {
namespace {

using Clock = std::chrono::steady_clock;
using gloo::transport::UnboundBuffer;
using std::chrono::milliseconds;

// Tags of Gloo: messages, and the receive that is never answered.
constexpr uint64_t kMessageSlot = 0;
constexpr uint64_t kSentinelSlot = 1;
// "No time-out": long enough, and no overflow in Gloo's own arithmetic.
constexpr milliseconds kForever = std::chrono::hours(24);
// A peer that finished its last call may leave while others still wait for what the rest has sent
// already: that long they go on waiting after a connection broke.
constexpr milliseconds kGrace{250};

// A write to a connection that the peer has closed raises SIGPIPE, which ends a process that has
// not decided otherwise.
void IgnoreBrokenPipes() {
  struct sigaction action {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN);
  }
}

// The numeric address of `host`.
std::string Resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    throw Error("INVALID_REQUEST", Format("bind_host %s: %s", host.c_str(), gai_strerror(code)));
  }
  char numeric[NI_MAXHOST] = "";
  getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof(numeric), nullptr, 0,
              NI_NUMERICHOST);
  freeaddrinfo(found);
  return numeric;
}

size_t MessageBytes(int world_size) {
  constexpr size_t kMessage = 512 * 1024;
  constexpr size_t kAllBuffers = 32 * 1024 * 1024;
  return std::min(kMessage, kAllBuffers / 2 / static_cast<size_t>(world_size) / 4096 * 4096);
}

// What each rank tells the others first.
struct Hello {
  uint64_t magic = 0x736b65696e676c31;
  uint64_t group_epoch = 0;
  int64_t rank = 0;
};

// Messages from one peer land in two buffers in turn: while one is being read, the next message may
// already arrive.
struct Channel {
  std::vector<std::byte> memory;  // [2 * message bytes]
  std::unique_ptr<UnboundBuffer> buffers[2];
  int next = 0;
};

}  // namespace

struct GlooTransport::Impl {
  CommunicatorOptions options;
  size_t message_bytes = 0;
  std::vector<std::string> own_addresses;  // by peer; empty for the own rank
  std::shared_ptr<gloo::transport::Context> context;
  std::vector<std::byte> send_memory;
  std::unique_ptr<UnboundBuffer> send_buffer;
  std::vector<Channel> channels;  // by peer
  std::byte sentinel_memory{};
  std::unique_ptr<UnboundBuffer> sentinel;
  std::thread sentinel_thread;
  int pending_sends = 0;
  int64_t wait_ns = 0;

  std::atomic<bool> aborted = false;
  std::atomic<bool> lost = false;
  // Guards what follows; `changed` tells the watchdog.
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool is_joined = false;  // buffers exist and do not change any more
  bool is_joining_over = false;
  bool has_expired = false;
  int connecting = -1;
  std::string loss;  // why `lost`

  void Open();
  void ConnectPairs(const std::vector<GlooAddress>& addresses, Clock::time_point deadline);
  void ConnectPair(int peer, const std::string& address);
  void WatchConnect(Clock::time_point deadline);
  void MakeBuffers();
  void PostReceive(int peer);
  void WatchPeers();
  void WakeAll();
  void Greet(Clock::time_point deadline);
  const std::byte* Receive(int peer, milliseconds timeout);
  void WaitUntilTrue(const std::function<bool(milliseconds)>& wait, milliseconds timeout);
  void ThrowIfOver() const;
  [[noreturn]] void ThrowLost(const char* what) const;
};

void GlooTransport::Impl::Open() {
  IgnoreBrokenPipes();
  const std::string host = options.bind_host.empty() ? "127.0.0.1" : options.bind_host;
  gloo::transport::tcp::attr attributes;
  attributes.hostname = Resolve(host);
  try {
    const auto device = gloo::transport::tcp::CreateDevice(attributes);
    context = device->createContext(options.rank, options.world_size);
    context->setTimeout(kForever);
    for (int peer = 0; peer < options.world_size; ++peer) {
      if (peer == options.rank) {
        own_addresses.emplace_back();
        continue;
      }
      const auto bytes = context->createPair(peer)->address().bytes();
      own_addresses.emplace_back(bytes.begin(), bytes.end());
    }
  } catch (const std::exception& error) {
    throw Error("COLLECTIVE_ERROR",
                Format("gloo cannot listen on bind_host %s (must be an address of this host): %s",
                       host.c_str(), error.what()));
  }
}

void GlooTransport::Impl::ThrowLost(const char* what) const {
  const std::lock_guard lock(mutex);
  throw Error("COLLECTIVE_ERROR", "a rank was lost: " + (loss.empty() ? std::string(what) : loss));
}

void GlooTransport::Impl::ThrowIfOver() const {
  if (aborted.load()) throw Error("ABORTED", "the group's epoch was aborted");
}

// ---- joining ----

void GlooTransport::Impl::WatchConnect(Clock::time_point deadline) {
  std::unique_lock lock(mutex);
  changed.wait_until(lock, deadline, [&] { return is_joining_over || aborted.load(); });
  if (is_joining_over) return;
  has_expired = !aborted.load();
  const int peer = connecting;
  lock.unlock();
  if (peer < 0) return;
  try {
    context->getPair(peer)->close();
  } catch (const std::exception&) {
    // It is closed already, which is what is wanted.
  }
}

void GlooTransport::Impl::ConnectPair(int peer, const std::string& address) {
  const auto check = [&] {
    const std::lock_guard lock(mutex);
    connecting = peer;
    ThrowIfOver();
    if (has_expired) {
      throw Error("COLLECTIVE_ERROR", Format("time-out connecting to rank %d", peer));
    }
  };
  check();
  std::string reason;
  try {
    context->getPair(peer)->connect(std::vector<char>(address.begin(), address.end()));
  } catch (const std::exception& error) {
    reason = error.what();
  }
  check();
  if (!reason.empty()) {
    throw Error("COLLECTIVE_ERROR", Format("cannot connect to rank %d: %s", peer, reason.c_str()));
  }
}

void GlooTransport::Impl::ConnectPairs(const std::vector<GlooAddress>& addresses,
                                       Clock::time_point deadline) {
  std::thread watchdog([&] { WatchConnect(deadline); });
  const auto stop = [&] {
    {
      const std::lock_guard lock(mutex);
      is_joining_over = true;
    }
    changed.notify_all();
    watchdog.join();
  };
  try {
    // All ranks connect in rank order; so the lowest pair that is not connected yet always has both
    // ends trying.
    for (int peer = 0; peer < options.world_size; ++peer) {
      if (peer == options.rank) continue;
      ConnectPair(peer,
                  addresses[static_cast<size_t>(peer)].by_peer[static_cast<size_t>(options.rank)]);
    }
  } catch (...) {
    stop();
    throw;
  }
  stop();
}

void GlooTransport::Impl::MakeBuffers() {
  send_memory.resize(message_bytes);
  send_buffer = context->createUnboundBuffer(send_memory.data(), message_bytes);
  sentinel = context->createUnboundBuffer(&sentinel_memory, 1);
  channels.resize(static_cast<size_t>(options.world_size));
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    Channel& channel = channels[static_cast<size_t>(peer)];
    channel.memory.resize(2 * message_bytes);
    for (size_t i = 0; i < 2; ++i) {
      channel.buffers[i] =
          context->createUnboundBuffer(channel.memory.data() + i * message_bytes, message_bytes);
    }
    sentinel->recv(peer, kSentinelSlot, 0, 1);
    channel.buffers[0]->recv(peer, kMessageSlot, 0, message_bytes);
  }
  sentinel_thread = std::thread([this] { WatchPeers(); });
}

void GlooTransport::Impl::Greet(Clock::time_point deadline) {
  const Hello hello{.group_epoch = options.group_epoch, .rank = options.rank};
  std::memcpy(send_memory.data(), &hello, sizeof(hello));
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    send_buffer->send(peer, kMessageSlot, 0, sizeof(hello));
    ++pending_sends;
  }
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    Hello other;
    std::memcpy(&other, Receive(peer, std::max(left, milliseconds(1))), sizeof(other));
    if (other.magic != hello.magic || other.group_epoch != hello.group_epoch ||
        other.rank != peer) {
      throw Error("COLLECTIVE_ERROR",
                  Format("what connected as rank %d is not that rank of this epoch", peer));
    }
  }
}

// ---- waiting ----

void GlooTransport::Impl::WatchPeers() {
  try {
    sentinel->waitRecv(nullptr, kForever);
  } catch (const std::exception& error) {
    {
      const std::lock_guard lock(mutex);
      loss = error.what();
    }
    lost.store(true);
    WakeAll();
  }
}

void GlooTransport::Impl::WakeAll() {
  send_buffer->abortWaitSend();
  for (Channel& channel : channels) {
    for (const auto& buffer : channel.buffers) {
      if (buffer) buffer->abortWaitRecv();
    }
  }
}

void GlooTransport::Impl::WaitUntilTrue(const std::function<bool(milliseconds)>& wait,
                                        milliseconds timeout) {
  const Clock::time_point start = Clock::now();
  try {
    // A wait returns false when it is woken without what it waits for.
    do {
      ThrowIfOver();
    } while (!wait(lost.load() ? std::min(kGrace, timeout) : timeout));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    ThrowIfOver();
    ThrowLost(error.what());
  }
  wait_ns += std::chrono::nanoseconds(Clock::now() - start).count();
}

void GlooTransport::Impl::PostReceive(int peer) {
  Channel& channel = channels[static_cast<size_t>(peer)];
  try {
    channel.buffers[channel.next]->recv(peer, kMessageSlot, 0, message_bytes);
  } catch (const std::exception&) {
    // The peer has left after what was received last. That matters only if more is wanted of it:
    // the wait for it throws then.
  }
}

const std::byte* GlooTransport::Impl::Receive(int peer, milliseconds timeout) {
  Channel& channel = channels[static_cast<size_t>(peer)];
  const auto current = static_cast<size_t>(channel.next);
  WaitUntilTrue(
      [&](milliseconds limit) { return channel.buffers[current]->waitRecv(nullptr, limit); },
      timeout);
  // The other buffer's message was read in an earlier call.
  channel.next ^= 1;
  PostReceive(peer);
  return channel.memory.data() + current * message_bytes;
}

// ---- the interface ----

GlooTransport::GlooTransport(const CommunicatorOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->message_bytes = MessageBytes(options.world_size);
  impl_->Open();
}

GlooTransport::~GlooTransport() {
  Impl& impl = *impl_;
  if (impl.sentinel_thread.joinable()) {
    impl.sentinel->abortWaitRecv();
    impl.sentinel_thread.join();
  }
  // Buffers go before their memory; each waits until the transport's thread is not using it.
  impl.sentinel.reset();
  impl.send_buffer.reset();
  for (Channel& channel : impl.channels) {
    for (auto& buffer : channel.buffers) buffer.reset();
  }
  impl.context.reset();
}

int GlooTransport::rank() const { return impl_->options.rank; }
int GlooTransport::world_size() const { return impl_->options.world_size; }
size_t GlooTransport::message_bytes() const { return impl_->message_bytes; }
std::byte* GlooTransport::send_buffer() const { return impl_->send_memory.data(); }
void GlooTransport::ThrowIfOver() const { impl_->ThrowIfOver(); }
int64_t GlooTransport::TakeWaitNanoseconds() { return std::exchange(impl_->wait_ns, 0); }

std::string GlooTransport::LocalAddress() const {
  return SerializeGlooAddress(
      {impl_->options.group_epoch, impl_->options.rank, impl_->own_addresses});
}

void GlooTransport::Connect(const std::vector<std::string>& addresses, Clock::time_point deadline) {
  Impl& impl = *impl_;
  CheckAddressCount(addresses, world_size());
  std::vector<GlooAddress> parsed;
  for (int peer = 0; peer < world_size(); ++peer) {
    parsed.push_back(ParseGlooAddress(addresses[static_cast<size_t>(peer)],
                                      impl.options.group_epoch, peer, world_size()));
  }
  impl.ConnectPairs(parsed, deadline);
  try {
    const std::lock_guard lock(impl.mutex);
    impl.ThrowIfOver();
    impl.MakeBuffers();
    impl.is_joined = true;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error("COLLECTIVE_ERROR", Format("a rank left while the group formed: %s", error.what()));
  }
  impl.Greet(deadline);
  FinishSends();
  impl.wait_ns = 0;
}

void GlooTransport::Send(int peer, size_t offset, size_t bytes) {
  impl_->ThrowIfOver();
  try {
    impl_->send_buffer->send(peer, kMessageSlot, offset, bytes);
  } catch (const std::exception& error) {
    impl_->ThrowIfOver();
    impl_->ThrowLost(error.what());
  }
  ++impl_->pending_sends;
}

void GlooTransport::FinishSends() {
  while (impl_->pending_sends > 0) {
    impl_->WaitUntilTrue(
        [&](milliseconds limit) { return impl_->send_buffer->waitSend(nullptr, limit); }, kForever);
    --impl_->pending_sends;
  }
}

const std::byte* GlooTransport::Receive(int peer) { return impl_->Receive(peer, kForever); }

void GlooTransport::Abort() {
  Impl& impl = *impl_;
  {
    const std::lock_guard lock(impl.mutex);
    impl.aborted.store(true);
    if (impl.is_joined) impl.WakeAll();
  }
  impl.changed.notify_all();
}

}  // namespace skein
