// Running one function on every rank of a group, each in a forked process, as tests of the
// collectives and their benchmark do. Knows no test framework.
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

// Returns when every rank is here. Ranks whose collectives take memory of the host.
inline void Meet(Communicator& communicator) {
  float word = 0;
  communicator.AllReduce(&word, 1, DType::kFloat32, ReduceOp::kMax, nullptr);
}

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

struct ProcessGroupOptions {
  CollectiveKind kind = CollectiveKind::kNone;
  int world_size = 1;
  uint64_t group_epoch = 1;
  // As in CommunicatorOptions.
  bool deterministic = true;
  int connect_timeout_ms = 10'000;
  // Runs in each child before anything else: chooses its device, sets its environment.
  std::function<void(int rank)> prepare = [](int) {};
};

// One process a rank. The parent hands the addresses on, as the coordinator does, and can watch and
// kill the processes.
class ProcessGroup {
 public:
  // Forks and connects; `body` runs in each child, which then exits without running anything of the
  // parent's.
  ProcessGroup(const ProcessGroupOptions& options, const RankBody& body);
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
  void RunChild(int rank, const ProcessGroupOptions& options, const RankBody& body);

  SharedPage* page_;
  std::vector<pid_t> pids_;
};

}  // namespace skein::test
