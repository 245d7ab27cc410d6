// Name look-up and the signal of broken connections.
#include "collective/host_name.h"

#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>

#include "core/error.h"

namespace skein {

std::string ResolveBindHost(const std::string& host) {
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

void IgnoreBrokenPipes() {
  struct sigaction action {};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN);
  }
}

}  // namespace skein
