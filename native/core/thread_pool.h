// A few threads that share one loop at a time. Iterations are handed out one by one, so a thread
// that the operating system has taken off its core holds nobody up: ranks may outnumber cores. Idle
// threads spin briefly, then sleep. Which thread runs an iteration is not defined: results must not
// depend on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace skein {

class ThreadPool {
 public:
  // The caller of ParallelFor counts as one: num_threads - 1 threads are started.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // body(int64_t index) for every index in [0, count); returns when all are done. One caller at a
  // time, not from a body. The first exception that a body throws is thrown here; the remaining
  // iterations still run.
  template <typename Body>
  void ParallelFor(int64_t count, const Body& body) {
    if (count <= 1 || threads_.empty()) {
      for (int64_t i = 0; i < count; ++i) body(i);
      return;
    }
    Run(
        count,
        [](const void* context, int64_t index) { (*static_cast<const Body*>(context))(index); },
        &body);
  }

 private:
  using Invoke = void (*)(const void* context, int64_t index);

  void Run(int64_t count, Invoke invoke, const void* context);
  // Takes iterations of loop `generation` until there are none left.
  void Work(uint32_t generation);
  void ThreadMain();

  // Generation of the loop in the upper half, next free iteration in the lower: one
  // compare-exchange both checks that the loop is still the same and takes an iteration, so a late
  // thread can never touch a loop that has ended.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> num_done_{0};
  alignas(64) std::atomic<uint32_t> wake_{0};
  std::atomic<int64_t> count_{0};
  std::atomic<Invoke> invoke_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<int> num_asleep_{0};
  std::atomic<bool> stop_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

// CPUs this process may run on.
int NumUsableCpus();

}  // namespace skein
