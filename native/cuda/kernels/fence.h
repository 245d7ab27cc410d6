// An empty kernel that waits for all work before it, and that work behind it waits for.
#pragma once

#include "cuda/stream.h"

namespace skein::cuda {

void PlaceFence(Stream& stream);

}  // namespace skein::cuda
