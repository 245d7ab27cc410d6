// How a library launches its kernels, read from a recording of them.
#pragma once

#include <functional>

#include "cuda/stream.h"

namespace skein::cuda {

// Whether some kernel of the graph may start before one in front of it has ended; with `from`, one
// right behind that.
bool HasProgrammaticEdge(cudaGraph_t graph, cudaGraphNode_t from = nullptr);

// Whether what `place` puts on a stream begins only when all work before has ended: no kernel
// behind that work is launched programmatically. (A second kernel may be, behind the first: a
// library knows its own.) Records it, and runs nothing; false where that cannot be done.
bool IsLaunchedPlainly(const std::function<void(Stream&)>& place);

}  // namespace skein::cuda
