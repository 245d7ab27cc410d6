// Forking, handing addresses on and collecting what the ranks report.
#include "test/rank_group.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "core/error.h"

namespace skein::test {
namespace {

constexpr int kMaxRanks = 16;
constexpr int kConnectTimeoutMs = 10000;

std::string Describe(const Error& error) { return error.code() + ": " + error.what(); }

}  // namespace

struct ProcessGroup::SharedPage {
  struct Rank {
    std::atomic<bool> has_address;
    char address[4096];
    char error[512];
  };
  Rank ranks[kMaxRanks];
};

SharedWords::SharedWords(size_t count) : count_(count) {
  void* page = mmap(nullptr, count * 8, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  SKEIN_CHECK(page != MAP_FAILED, "shared words");
  words_ = new (page) std::atomic<int64_t>[count]();
}

SharedWords::~SharedWords() { munmap(words_, count_ * 8); }

std::vector<std::string> RunThreads(int world_size, const RankBody& body) {
  auto group = MakeLocalGroup(world_size);
  std::vector<std::string> errors(group.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(*group[rank]);
      } catch (const Error& error) {
        errors[rank] = Describe(error);
        group[rank].reset();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

ProcessGroup::ProcessGroup(CollectiveKind kind, int world_size, const RankBody& body,
                           uint64_t group_epoch) {
  void* page =
      mmap(nullptr, sizeof(SharedPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  SKEIN_CHECK(page != MAP_FAILED && world_size <= kMaxRanks, "process group");
  page_ = new (page) SharedPage{};
  const pid_t parent = getpid();
  // What is buffered would be printed again by each child.
  std::fflush(nullptr);
  for (int rank = 0; rank < world_size; ++rank) {
    const pid_t pid = fork();
    SKEIN_CHECK(pid >= 0, "fork failed");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(2);
      RunChild(rank, kind, world_size, group_epoch, body);
    }
    pids_.push_back(pid);
  }
}

void ProcessGroup::RunChild(int rank, CollectiveKind kind, int world_size, uint64_t group_epoch,
                            const RankBody& body) {
  SharedPage::Rank& own = page_->ranks[rank];
  int status = 0;
  try {
    CommunicatorOptions options;
    options.kind = kind;
    options.rank = rank;
    options.world_size = world_size;
    options.group_epoch = group_epoch;
    const auto builder = MakeCommunicatorBuilder(options);
    const std::string address = builder->LocalAddress();
    SKEIN_CHECK(address.size() <= sizeof(own.address) - 8, "address of %zu bytes", address.size());
    const uint64_t size = address.size();
    std::memcpy(own.address, &size, 8);
    std::memcpy(own.address + 8, address.data(), size);
    own.has_address.store(true);
    std::vector<std::string> addresses;
    for (int peer = 0; peer < world_size; ++peer) {
      SharedPage::Rank& other = page_->ranks[peer];
      while (!other.has_address.load()) usleep(500);
      uint64_t length = 0;
      std::memcpy(&length, other.address, 8);
      addresses.emplace_back(other.address + 8, length);
    }
    const auto communicator = builder->Connect(addresses, kConnectTimeoutMs);
    body(*communicator);
  } catch (const Error& error) {
    std::snprintf(own.error, sizeof(own.error), "%s", Describe(error).c_str());
    status = 1;
  } catch (const std::exception& error) {
    std::snprintf(own.error, sizeof(own.error), "unconverted: %s", error.what());
    status = 1;
  }
  _exit(status);
}

ProcessGroup::~ProcessGroup() {
  for (const pid_t pid : pids_) {
    if (pid <= 0) continue;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  munmap(page_, sizeof(SharedPage));
}

std::vector<std::string> ProcessGroup::Wait(int timeout_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  std::vector<std::string> errors(pids_.size());
  for (size_t rank = 0; rank < pids_.size(); ++rank) {
    int status = 0;
    bool expired = false;
    while (waitpid(pids_[rank], &status, WNOHANG) == 0) {
      if (!expired && std::chrono::steady_clock::now() > deadline) {
        expired = true;
        kill(pids_[rank], SIGKILL);
      }
      usleep(1000);
    }
    pids_[rank] = 0;
    if (expired) {
      errors[rank] = "time-out";
    } else if (WIFSIGNALED(status)) {
      errors[rank] = WTERMSIG(status) == SIGKILL ? "killed" : "crashed";
    } else if (WEXITSTATUS(status) != 0) {
      errors[rank] = page_->ranks[rank].error;
    }
  }
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
