// Time of an all-reduce by kind, world size and bytes. A few rounds as a test;
// SKEIN_BENCH_ROUNDS=2000 for numbers worth quoting (bench/collective/README.md). Each rank is a
// process, as in production.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "core/error.h"
#include "test/rank_group.h"

namespace skein::test {
namespace {

constexpr int64_t kBytes[] = {64, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20};
constexpr int kWorldSizes[] = {2, 3, 4};

int Rounds() {
  const char* text = std::getenv("SKEIN_BENCH_ROUNDS");
  return text == nullptr ? 5 : std::max(1, std::atoi(text));
}

// Median and 95th percentile, nanoseconds, of rank 0's calls.
void Measure(Communicator& communicator, int64_t bytes, int rounds, std::atomic<int64_t>& median,
             std::atomic<int64_t>& slow) {
  std::vector<float> data(static_cast<size_t>(bytes / 4), 1.0f);
  std::vector<int64_t> times;
  for (int round = -rounds / 10; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    communicator.AllReduce(data.data(), bytes / 4, DType::kFloat32, ReduceOp::kMax, nullptr);
    const auto end = std::chrono::steady_clock::now();
    if (round >= 0) times.push_back(std::chrono::nanoseconds(end - start).count());
  }
  SKEIN_CHECK(data.front() == 1.0f && data.back() == 1.0f, "result");
  std::sort(times.begin(), times.end());
  if (communicator.rank() != 0) return;
  median.store(times[times.size() / 2]);
  slow.store(times[times.size() * 95 / 100]);
}

void PrintTable(CollectiveKind kind, const char* name) {
  const int rounds = Rounds();
  std::printf("%-14s", name);
  for (const int64_t bytes : kBytes) {
    std::printf(bytes < 1024 ? "%13lld B" : "%11lld KiB",
                static_cast<long long>(bytes < 1024 ? bytes : bytes / 1024));
  }
  std::printf("   (median / 95 %%, microseconds)\n");
  for (const int world_size : kWorldSizes) {
    const SharedWords results(2 * std::size(kBytes));
    ProcessGroup group(kind, world_size, [&](Communicator& communicator) {
      for (size_t i = 0; i < std::size(kBytes); ++i) {
        Measure(communicator, kBytes[i], rounds, results[2 * i], results[2 * i + 1]);
      }
    });
    for (const std::string& error : group.Wait(600000)) EXPECT_EQ(error, "");
    std::printf("%d ranks       ", world_size);
    for (size_t i = 0; i < std::size(kBytes); ++i) {
      std::printf("%7.1f/%7.1f", static_cast<double>(results[2 * i].load()) / 1e3,
                  static_cast<double>(results[2 * i + 1].load()) / 1e3);
    }
    std::printf("\n");
  }
}

TEST(CollectiveBenchmark, SharedMemory) {
  PrintTable(CollectiveKind::kSharedMemory, "shared-memory");
}
TEST(CollectiveBenchmark, Gloo) { PrintTable(CollectiveKind::kGloo, "gloo"); }

}  // namespace
}  // namespace skein::test
