// Work in numbered pieces, taken by a few threads that live as long as the call: pictures come
// seldom, and a thread starts in a fraction of what a piece takes.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace skein::picture {

inline int NumWorkers(int64_t num_pieces, int num_threads) {
  return static_cast<int>(std::clamp<int64_t>(num_pieces, 1, std::max(num_threads, 1)));
}

// body(piece, worker) for every piece in [0, num_pieces), by worker 0, which is the caller, and up
// to num_workers - 1 more. `body` must not throw.
template <typename Body>
void ShareWork(int64_t num_pieces, int num_workers, const Body& body) {
  std::atomic<int64_t> next{0};
  const auto work = [&](int worker) {
    for (int64_t piece = next++; piece < num_pieces; piece = next++) body(piece, worker);
  };
  std::vector<std::jthread> helpers;
  helpers.reserve(static_cast<size_t>(num_workers));
  for (int worker = 1; worker < num_workers; ++worker) {
    try {
      helpers.emplace_back(work, worker);
    } catch (const std::system_error&) {
      break;  // The system has no more threads: those that there are do it all.
    }
  }
  work(0);
}

}  // namespace skein::picture
