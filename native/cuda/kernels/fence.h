// A kernel that does next to nothing, waits for all work before it, and is waited for by
// work behind it.
#pragma once

#include "cuda/call_counter.h"
#include "cuda/stream.h"

namespace skein::cuda {

// Counts itself where there is a counter.
void PlaceFence(Stream& stream, const CallCounter* counter = nullptr);

}  // namespace skein::cuda
