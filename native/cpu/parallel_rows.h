// Loops over rows on the thread pool. A row is never cut, so its bits cannot depend on the number
// of threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/thread_pool.h"

namespace skein::cpu {

// Elements below which a second thread costs more than it saves, and elements that a thread takes
// at a time.
constexpr int64_t kMinParallelElements = 32768;
constexpr int64_t kElementsPerTask = 16384;

// body(row) for each of `rows` rows of `cols` elements.
template <class Body>
void ForEachRow(ThreadPool& pool, int64_t rows, int64_t cols, const Body& body) {
  if (rows * cols < kMinParallelElements) {
    for (int64_t row = 0; row < rows; ++row) body(row);
    return;
  }
  const int64_t per_task = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, cols));
  pool.ParallelFor((rows + per_task - 1) / per_task, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * per_task);
    for (int64_t row = task * per_task; row < end; ++row) body(row);
  });
}

}  // namespace skein::cpu
