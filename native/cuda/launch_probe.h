// How a library launches its kernels, read from a recording of them.
#pragma once

#include <functional>

#include "cuda/stream.h"

namespace skein::cuda {

// Whether some kernel of the graph may start before the one in front of it has ended.
bool HasProgrammaticEdge(cudaGraph_t graph);

// Whether no kernel that `place` puts on a stream is launched programmatically, so that each starts
// when all work before has ended. Records it, and runs nothing; false where that cannot be done.
bool IsLaunchedPlainly(const std::function<void(Stream&)>& place);

}  // namespace skein::cuda
