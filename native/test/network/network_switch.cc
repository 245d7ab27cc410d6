// A switch between network namespaces that can be told to lose or to delay what goes one way from
// one port to another. Kernels need nothing for it but TUN: no bridge, no netem, no packet filter.
//
//   network_switch DEVICE...
//
// makes a TAP device for each port, in the order given, and says "ready"; whoever started it moves
// the devices into their namespaces. A port's hardware address is 02:00:00:00:00:NN, NN from 1.
// Lines on stdin change what happens to frames that arrive later, and are answered with "ok":
//
//   lose FROM TO          nothing arrives any more, and nobody is told
//   pass FROM TO [MS]     everything arrives, in order, MS milliseconds later (default: at once)
//
// It ends when its stdin does, and the devices with it.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// Of Ethernet, with its header, for devices of 1,500 bytes.
constexpr size_t kMaxFrameBytes = 2048;
// What waits for its time between two ports; beyond it frames are lost, as in any switch.
constexpr size_t kMaxWaiting = 16384;
constexpr int kMaxPorts = 32;

struct Frame {
  Clock::time_point due;
  std::vector<uint8_t> bytes;
};

struct Link {
  bool loses = false;
  microseconds delay{0};
  std::deque<Frame> waiting;
};

class Switch {
 public:
  explicit Switch(const std::vector<std::string>& devices)
      : links_(devices.size(), std::vector<Link>(devices.size())) {
    for (const std::string& device : devices) ports_.push_back(Open(device));
  }

  void Run() {
    std::vector<pollfd> polled;
    for (const int port : ports_) polled.push_back({port, POLLIN, 0});
    polled.push_back({STDIN_FILENO, POLLIN, 0});
    std::cout << "ready" << std::endl;
    for (;;) {
      if (poll(polled.data(), polled.size(), MillisecondsToNext()) < 0 && errno != EINTR) return;
      for (size_t port = 0; port < ports_.size(); ++port) {
        if ((polled[port].revents & POLLIN) != 0) Receive(port);
      }
      SendDue();
      if (polled.back().revents != 0 && !ReadCommands()) return;
    }
  }

 private:
  static int Open(const std::string& device) {
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) Fail("/dev/net/tun");
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) Fail(device);
    return fd;
  }

  [[noreturn]] static void Fail(const std::string& what) {
    std::cerr << what << ": " << std::strerror(errno) << std::endl;
    std::exit(1);
  }

  void Receive(size_t from) {
    for (;;) {
      const ssize_t length = read(ports_[from], buffer_.data(), buffer_.size());
      // Until there is no more; a device whose namespace is gone gives nothing either.
      if (length < 6) return;
      const std::vector<uint8_t> frame(buffer_.begin(), buffer_.begin() + length);
      const bool is_for_all = (frame[0] & 1) != 0;
      for (size_t to = 0; to < ports_.size(); ++to) {
        if (to != from && (is_for_all || frame[5] == to + 1)) Forward(links_[from][to], to, frame);
      }
    }
  }

  void Forward(Link& link, size_t to, const std::vector<uint8_t>& frame) {
    if (link.loses) return;
    if (link.delay.count() == 0 && link.waiting.empty()) {
      Send(to, frame);
    } else if (link.waiting.size() < kMaxWaiting) {
      const auto last = link.waiting.empty() ? Clock::time_point::min() : link.waiting.back().due;
      link.waiting.push_back({std::max(last, Clock::now() + link.delay), frame});
    }
  }

  // A full queue loses the frame.
  void Send(size_t to, const std::vector<uint8_t>& frame) {
    if (write(ports_[to], frame.data(), frame.size()) < 0) return;
  }

  void SendDue() {
    const auto now = Clock::now();
    for (auto& row : links_) {
      for (size_t to = 0; to < row.size(); ++to) {
        auto& waiting = row[to].waiting;
        for (; !waiting.empty() && waiting.front().due <= now; waiting.pop_front()) {
          Send(to, waiting.front().bytes);
        }
      }
    }
  }

  int MillisecondsToNext() const {
    auto next = Clock::time_point::max();
    for (const auto& row : links_) {
      for (const Link& link : row) {
        if (!link.waiting.empty()) next = std::min(next, link.waiting.front().due);
      }
    }
    if (next == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
    return static_cast<int>(std::max<int64_t>(left.count(), 0));
  }

  // False: there will be none.
  bool ReadCommands() {
    const ssize_t length = read(STDIN_FILENO, buffer_.data(), buffer_.size());
    if (length <= 0) return false;
    input_.append(buffer_.begin(), buffer_.begin() + length);
    for (size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      std::cout << (Obey(input_.substr(0, end)) ? "ok" : "not understood") << std::endl;
      input_.erase(0, end + 1);
    }
    return true;
  }

  bool Obey(const std::string& line) {
    std::istringstream words(line);
    std::string what;
    size_t from = 0;
    size_t to = 0;
    if (!(words >> what >> from >> to) || from >= ports_.size() || to >= ports_.size())
      return false;
    Link& link = links_[from][to];
    if (what == "lose") {
      link.loses = true;
      link.waiting.clear();
      return true;
    }
    double milliseconds = 0;
    if (what != "pass" || (!words.eof() && !(words >> milliseconds)) || milliseconds < 0) {
      return false;
    }
    link.loses = false;
    link.delay = microseconds(static_cast<int64_t>(milliseconds * 1000));
    return true;
  }

  std::vector<int> ports_;
  // [from][to]
  std::vector<std::vector<Link>> links_;
  std::array<uint8_t, kMaxFrameBytes> buffer_{};
  std::string input_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> devices(argv + 1, argv + argc);
  if (devices.size() < 2 || devices.size() > kMaxPorts) {
    std::cerr << "network_switch DEVICE DEVICE...: 2 to " << kMaxPorts << " ports" << std::endl;
    return 2;
  }
  Switch(devices).Run();
  return 0;
}
