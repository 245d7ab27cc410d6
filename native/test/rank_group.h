// Running one function on every rank of a group: on threads (local groups) or in forked processes
// (shared memory, Gloo). Test support only.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "collective/communicator.h"

namespace skein::test {

using RankBody = std::function<void(Communicator&)>;

// One thread a rank over MakeLocalGroup. Returns each rank's error text, "" where it returned.
std::vector<std::string> RunThreads(int world_size, const RankBody& body);

// Words that a process shares with its children; for what a body wants to tell.
class SharedWords {
 public:
  explicit SharedWords(size_t count);
  ~SharedWords();
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;
  std::atomic<int64_t>& operator[](size_t index) const { return words_[index]; }

 private:
  size_t count_;
  std::atomic<int64_t>* words_;
};

// One process a rank. The parent hands the addresses on, as the coordinator does, and can watch and
// kill the processes.
class ProcessGroup {
 public:
  // Forks and connects; `body` runs in each child, which then exits without running anything of the
  // parent's.
  ProcessGroup(CollectiveKind kind, int world_size, const RankBody& body, uint64_t group_epoch = 1);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  pid_t pid(int rank) const { return pids_[static_cast<size_t>(rank)]; }
  // Waits until every child that was not killed has ended; error text by rank, "" where the body
  // returned, "killed" for a signal, "time-out" for one that had to be killed here.
  std::vector<std::string> Wait(int timeout_ms = 20000);

 private:
  struct SharedPage;
  void RunChild(int rank, CollectiveKind kind, int world_size, uint64_t group_epoch,
                const RankBody& body);

  SharedPage* page_;
  std::vector<pid_t> pids_;
};

// Threads for kNone (local), else processes; fails the running test with the first error.
void ExpectOnAllRanks(CollectiveKind kind, int world_size, const RankBody& body);

}  // namespace skein::test
