// Logits in host memory, judged by the threads of a pool.
#pragma once

#include <memory>

#include "core/thread_pool.h"
#include "sampling/logits_source.h"

namespace skein {

// `pool` outlives it.
std::unique_ptr<LogitsSource> MakeHostLogits(const SamplerShape& shape, ThreadPool& pool);

}  // namespace skein
