// Forking, handing addresses on and collecting what the ranks report.
#include "test/process_group.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "core/error.h"

namespace skein::test {
namespace {

constexpr int kMaxRanks = 16;

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

ProcessGroup::ProcessGroup(CollectiveKind kind, int world_size, const RankBody& body,
                           uint64_t group_epoch)
    : ProcessGroup({.kind = kind, .world_size = world_size, .group_epoch = group_epoch}, body) {}

ProcessGroup::ProcessGroup(const ProcessGroupOptions& options, const RankBody& body) {
  void* page =
      mmap(nullptr, sizeof(SharedPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  SKEIN_CHECK(page != MAP_FAILED && options.world_size <= kMaxRanks, "process group");
  page_ = new (page) SharedPage{};
  const pid_t parent = getpid();
  // What is buffered would be printed again by each child.
  std::fflush(nullptr);
  for (int rank = 0; rank < options.world_size; ++rank) {
    const pid_t pid = fork();
    SKEIN_CHECK(pid >= 0, "fork failed");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(2);
      RunChild(rank, options, body);
    }
    pids_.push_back(pid);
  }
}

void ProcessGroup::RunChild(int rank, const ProcessGroupOptions& group, const RankBody& body) {
  SharedPage::Rank& own = page_->ranks[rank];
  int status = 0;
  try {
    group.prepare(rank);
    CommunicatorOptions options;
    options.kind = group.kind;
    options.rank = rank;
    options.world_size = group.world_size;
    options.group_epoch = group.group_epoch;
    options.deterministic = group.deterministic;
    const auto builder = MakeCommunicatorBuilder(options);
    const std::string address = builder->LocalAddress();
    SKEIN_CHECK(address.size() <= sizeof(own.address) - 8, "address of %zu bytes", address.size());
    const uint64_t size = address.size();
    std::memcpy(own.address, &size, 8);
    std::memcpy(own.address + 8, address.data(), size);
    own.has_address.store(true);
    std::vector<std::string> addresses;
    for (int peer = 0; peer < group.world_size; ++peer) {
      SharedPage::Rank& other = page_->ranks[peer];
      while (!other.has_address.load()) usleep(500);
      uint64_t length = 0;
      std::memcpy(&length, other.address, 8);
      addresses.emplace_back(other.address + 8, length);
    }
    const auto communicator = builder->Connect(addresses, group.connect_timeout_ms);
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

}  // namespace skein::test
