// Ranks as threads, and what a test expects of ranks of either sort.
#include "test/rank_group.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/error.h"

namespace skein::test {

std::vector<std::string> RunThreads(int world_size, const RankBody& body) {
  auto group = MakeLocalGroup(world_size);
  std::vector<std::string> errors(group.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(*group[rank]);
      } catch (const Error& error) {
        errors[rank] = error.code() + ": " + error.what();
        group[rank].reset();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

void ExpectOnAllRanks(CollectiveKind kind, int world_size, const RankBody& body) {
  std::vector<std::string> errors;
  if (kind == CollectiveKind::kNone) {
    errors = RunThreads(world_size, body);
  } else {
    ProcessGroup group(kind, world_size, body);
    errors = group.Wait();
  }
  for (size_t rank = 0; rank < errors.size(); ++rank)
    EXPECT_EQ(errors[rank], "") << "rank " << rank;
}

}  // namespace skein::test
