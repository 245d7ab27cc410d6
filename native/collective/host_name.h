// The few things about sockets that Gloo leaves to its user. Opens none.
#pragma once

#include <string>

namespace skein {

// The numeric address of `host`. Throws INVALID_REQUEST (bind_host) for a name that has none.
std::string ResolveBindHost(const std::string& host);

// A write to a connection that the peer has closed raises SIGPIPE, which ends a process that has
// not decided otherwise: makes such a process ignore it. (Node ignores it from the start.)
void IgnoreBrokenPipes();

}  // namespace skein
