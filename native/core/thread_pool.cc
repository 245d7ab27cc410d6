#include "core/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace skein {
namespace {

// About 20 microseconds: longer than the serial work between two ops of a step, shorter than a
// scheduler's time slice.
constexpr int kSpins = 500;
// An iteration number above that of any loop.
constexpr uint64_t kClosed = 0xffffffffu;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

int NumUsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int num_threads) {
  for (int i = 1; i < num_threads; ++i) threads_.emplace_back([this] { ThreadMain(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Run(int64_t count, Invoke invoke, const void* context) {
  SKEIN_CHECK(count < static_cast<int64_t>(kClosed), "loop of %ld", static_cast<long>(count));
  const uint32_t generation = static_cast<uint32_t>(ticket_.load() >> 32) + 1;
  // Closed while the fields change: a late thread that holds the old ticket fails its
  // compare-exchange, one that reads this ticket finds no iteration in it.
  ticket_.store((static_cast<uint64_t>(generation) << 32) | kClosed);
  invoke_.store(invoke);
  context_.store(context);
  num_done_.store(0);
  count_.store(count);
  ticket_.store(static_cast<uint64_t>(generation) << 32);
  wake_.fetch_add(1);
  if (num_asleep_.load() > 0) wake_.notify_all();
  Work(generation);
  for (int spin = 0;; ++spin) {
    const int64_t done = num_done_.load();
    if (done == count) break;
    if (spin < kSpins) {
      Pause();
    } else {
      num_done_.wait(done);
    }
  }
  if (error_) {
    const std::exception_ptr error = std::exchange(error_, nullptr);
    std::rethrow_exception(error);
  }
}

void ThreadPool::Work(uint32_t generation) {
  uint64_t ticket = ticket_.load();
  while (static_cast<uint32_t>(ticket >> 32) == generation) {
    const int64_t index = static_cast<int64_t>(ticket & 0xffffffffu);
    const int64_t count = count_.load();
    const Invoke invoke = invoke_.load();
    const void* context = context_.load();
    if (index >= count) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
    try {
      invoke(context, index);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    if (num_done_.fetch_add(1) + 1 == count) num_done_.notify_one();
    ticket = ticket_.load();
  }
}

void ThreadPool::ThreadMain() {
  uint32_t seen = 0;
  while (true) {
    uint32_t wake = wake_.load();
    for (int spin = 0; wake == seen && spin < kSpins; ++spin) {
      Pause();
      wake = wake_.load();
    }
    if (wake == seen) {
      num_asleep_.fetch_add(1);
      wake_.wait(seen);
      num_asleep_.fetch_sub(1);
      wake = wake_.load();
    }
    seen = wake;
    if (stop_.load()) return;
    Work(static_cast<uint32_t>(ticket_.load() >> 32));
  }
}

}  // namespace skein
