// Times all-reduces as the engine makes them: one process a rank, sums in place in registered memory
// of an arena, recorded in a CUDA graph as in a decode step, and enqueued one by one as in a prompt;
// then with residual and norm among a layer's products. First through the memory of the GPUs, where
// they reach each other's, then over NCCL alone. Checks the sums before it times them. Prints one
// JSON object a line.
//
//   cuda_collective_bench [--world-sizes 2,4] [--ranks-per-device K] [--max-bytes N]
//                         [--deterministic] [--unregistered]
//                         [--only peer-memory|nccl]
//
// Rank r is on device r / K. Ranks that share a device meet over loopback sockets, as hosts of
// their own: a trial of the program, not a measurement of the devices.
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/device_arena.h"
#include "cuda/device_memory.h"
#include "cuda/graph_cache.h"
#include "cuda/kernels/skinny_product.h"
#include "cuda_collective_chain.h"
#include "test/process_group.h"

namespace skein::cuda {
namespace {

using test::ProcessGroup;
using test::ProcessGroupOptions;
using test::SharedWords;

struct Options {
  std::vector<int> world_sizes = {2};
  int ranks_per_device = 1;
  size_t max_bytes = size_t{64} << 20;
  bool deterministic = false;
  bool registers = true;
  // Of the two ways, as the communicator names itself; empty: both.
  std::string only;
};

// A row of the 38 B model.
constexpr int64_t kHidden = 5120;
// A step's sums of up to so many rows travel in float32 (CudaBackend::PartialType).
constexpr int64_t kMaxFloatRows = 128;
constexpr int kMaxRanks = 16, kMinRuns = 5, kMaxRuns = 20;
constexpr int kMinCalls = 4, kMaxCalls = 128, kChainRuns = 60;
// What one run takes, about, and all runs of a case.
constexpr double kRunNanoseconds = 20e6, kCaseNanoseconds = 500e6;
constexpr int kConnectTimeoutMs = 60'000, kGroupTimeoutMs = 150'000;

struct Case {
  DType type;
  int64_t count;
  size_t bytes() const { return static_cast<size_t>(count) * SizeOf(type); }
};

std::vector<Case> Cases(size_t max_bytes) {
  std::vector<Case> cases;
  for (int64_t rows = 1; rows <= kMaxFloatRows; rows *= 2) {
    cases.push_back({DType::kFloat32, kHidden * rows});
  }
  for (int64_t count = kHidden; count * 2 < int64_t{64} << 20; count *= 2) {
    cases.push_back({DType::kBFloat16, count});
  }
  cases.push_back({DType::kBFloat16, int64_t{32} << 20});
  std::erase_if(cases, [&](const Case& each) { return each.bytes() > max_bytes; });
  return cases;
}

// Whole numbers so small that every sum of kMaxRanks of them is exact in bfloat16.
int ValueOf(int64_t index, int rank) { return static_cast<int>((index * 7 + rank * 13) % 17) - 8; }

template <typename T>
T Converted(int value) {
  return T(static_cast<float>(value));
}

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One rank's part of the bench.
class RankBench {
 public:
  RankBench(Communicator& communicator, const Options& options, const SharedWords& words,
            DeviceArena& arena)
      : communicator_(communicator), options_(options), words_(words) {
    SKEIN_CUDA(cudaEventCreate(&start_));
    SKEIN_CUDA(cudaEventCreate(&end_));
    SKEIN_CUDA(cudaMemsetAsync(word_.data(), 0, word_.bytes(), stream_.ForDriver()));
    data_ = arena.Allocate(options.max_bytes);
    if (options.registers) communicator.Register(data_, options.max_bytes);
  }

  // Returns when every rank is here.
  void Meet() {
    communicator_.AllReduce(word_.data(), 1, DType::kFloat32, ReduceOp::kMax, &stream_);
    stream_.Synchronize();
  }

  void Run(const Case& test) {
    Check(test, "", [&] { AllReduce(test); });
    {
      Recording once(stream_, [&] { AllReduce(test); });
      Check(test, " in a graph", [&] { once.Launch(); });
    }
    // Sums of sums would leave the range of numbers.
    SKEIN_CUDA(cudaMemsetAsync(data_, 0, test.bytes(), stream_.ForDriver()));
    AllReduce(test);
    const double single = Slowest([&] { AllReduce(test); });
    const int calls = std::clamp(static_cast<int>(kRunNanoseconds / single), kMinCalls, kMaxCalls);
    const auto all = [&] {
      for (int i = 0; i < calls; ++i) AllReduce(test);
    };
    Recording recorded(stream_, all);
    Time(test, calls, true, [&] { recorded.Launch(); });
    Time(test, calls, false, all);
  }

  void RunChains() {
    if (!HasSkinnyProduct()) return;
    CollectiveChain chain(communicator_, stream_);
    for (const int64_t rows : {1, 2, 4, 8}) RunChain(chain, rows);
  }

 private:
  // What sum, residual and norm add to the products around them, and what the latter two add alone.
  void RunChain(CollectiveChain& chain, int64_t rows) {
    using Between = CollectiveChain::Between;
    std::vector<std::unique_ptr<Recording>> chains;
    for (const Between between : {Between::kNothing, Between::kNormOnly, Between::kSum}) {
      chains.push_back(
          std::make_unique<Recording>(stream_, [&, between] { chain.Place(rows, between); }));
    }
    // In turns, so that what changes slowly cancels out.
    std::vector<double> products, norms, sums;
    for (int run = 0; run < kChainRuns; ++run) {
      double us[3];
      for (size_t i = 0; i < chains.size(); ++i) {
        us[i] = Slowest([&] { chains[i]->Launch(); }) * 1e-3 / CollectiveChain::kSums;
      }
      products.push_back(us[0]);
      norms.push_back(us[1] - us[0]);
      sums.push_back(us[2] - us[0]);
    }
    if (communicator_.rank() != 0) return;
    std::printf(
        "{\"what\":\"residual-norm\",\"kind\":\"%s\",\"world_size\":%d,\"ranks_per_device\":%d,"
        "\"type\":\"float32\",\"bytes\":%lld,\"deterministic\":%s,\"us\":%.2f,"
        "\"us_without_sum\":%.2f,\"us_of_products\":%.2f}\n",
        communicator_.kind(), communicator_.world_size(), options_.ranks_per_device,
        static_cast<long long>(rows * kHidden * 4), options_.deterministic ? "true" : "false",
        MedianOf(sums), MedianOf(norms), MedianOf(products));
    std::fflush(stdout);
  }

  // A graph of what `body` places on the stream.
  class Recording {
   public:
    Recording(Stream& stream, std::function<void()> body)
        : graphs_(stream), body_(std::move(body)) {
      // The first run is eager, and recorded.
      Launch();
    }
    void Launch() { graphs_.Run(1, body_); }

   private:
    GraphCache graphs_;
    std::function<void()> body_;
  };

  void AllReduce(const Case& test) {
    communicator_.AllReduce(data_, test.count, test.type, ReduceOp::kSum, &stream_);
  }

  void Check(const Case& test, const char* how, const std::function<void()>& reduce) {
    if (test.type == DType::kFloat32) {
      CheckValues<float>(test, how, reduce);
    } else {
      CheckValues<__nv_bfloat16>(test, how, reduce);
    }
  }

  template <typename T>
  void CheckValues(const Case& test, const char* how, const std::function<void()>& reduce) {
    std::vector<T> values(static_cast<size_t>(test.count));
    for (int64_t i = 0; i < test.count; ++i) {
      values[static_cast<size_t>(i)] = Converted<T>(ValueOf(i, communicator_.rank()));
    }
    SKEIN_CUDA(cudaMemcpyAsync(data_, values.data(), test.bytes(), cudaMemcpyHostToDevice,
                               stream_.ForDriver()));
    stream_.Synchronize();
    Meet();
    reduce();
    SKEIN_CUDA(cudaMemcpyAsync(values.data(), data_, test.bytes(), cudaMemcpyDeviceToHost,
                               stream_.ForDriver()));
    stream_.Synchronize();
    for (int64_t i = 0; i < test.count; ++i) {
      int expected = 0;
      for (int rank = 0; rank < communicator_.world_size(); ++rank) expected += ValueOf(i, rank);
      const auto got = static_cast<float>(values[static_cast<size_t>(i)]);
      if (got == static_cast<float>(expected)) continue;
      throw Error("COLLECTIVE_ERROR",
                  Format("a sum of %zu bytes%s: element %lld is %g instead of %d", test.bytes(),
                         how, static_cast<long long>(i), static_cast<double>(got), expected));
    }
  }

  // Nanoseconds of the slowest rank, the same on all.
  double Slowest(const std::function<void()>& work) {
    Meet();
    SKEIN_CUDA(cudaEventRecord(start_, stream_.ForDriver()));
    work();
    SKEIN_CUDA(cudaEventRecord(end_, stream_.ForDriver()));
    SKEIN_CUDA(cudaEventSynchronize(end_));
    float ms = 0;
    SKEIN_CUDA(cudaEventElapsedTime(&ms, start_, end_));
    words_[static_cast<size_t>(communicator_.rank())] = static_cast<int64_t>(ms * 1e6);
    Meet();
    int64_t slowest = 1;
    for (int rank = 0; rank < communicator_.world_size(); ++rank) {
      slowest = std::max<int64_t>(slowest, words_[static_cast<size_t>(rank)]);
    }
    // Nobody writes its word again before all have read.
    Meet();
    return static_cast<double>(slowest);
  }

  // Microseconds of the slowest rank, run by run, ascending.
  std::vector<double> Times(const std::function<void()>& work) {
    const double first = Slowest(work);
    const int runs = std::clamp(static_cast<int>(kCaseNanoseconds / first), kMinRuns, kMaxRuns);
    std::vector<double> times;
    for (int run = 0; run < runs; ++run) times.push_back(Slowest(work) * 1e-3);
    std::sort(times.begin(), times.end());
    return times;
  }
  void Time(const Case& test, int calls, bool in_graph, const std::function<void()>& work) {
    std::vector<double> times = Times(work);
    if (communicator_.rank() != 0) return;
    for (double& time : times) time /= calls;
    const double us = times[times.size() / 2];
    const int n = communicator_.world_size();
    // What each link carries, whatever the world size: 2 (n - 1) / n of the vector.
    const double bus = static_cast<double>(test.bytes()) / us * 1e-3 * 2 * (n - 1) / n;
    std::printf(
        "{\"what\":\"all-reduce\",\"kind\":\"%s\",\"world_size\":%d,\"ranks_per_device\":%d,\"type\":\"%s\","
        "\"bytes\":%zu,\"in_graph\":%s,\"deterministic\":%s,\"registered\":%s,\"calls\":%d,"
        "\"runs\":%d,\"us\":%.2f,\"us_min\":%.2f,\"us_max\":%.2f,\"bus_gb_per_s\":%.2f}\n",
        communicator_.kind(), n, options_.ranks_per_device, Name(test.type), test.bytes(), in_graph ? "true" : "false",
        options_.deterministic ? "true" : "false", options_.registers ? "true" : "false", calls,
        static_cast<int>(times.size()), us, times.front(), times.back(), bus);
    std::fflush(stdout);
  }

  Communicator& communicator_;
  const Options& options_;
  const SharedWords& words_;
  Stream stream_;
  const DeviceMemory word_{sizeof(float)};
  cudaEvent_t start_ = nullptr, end_ = nullptr;
  void* data_ = nullptr;
};

// In a process of its own: one that has used CUDA must not fork.
int CountDevices() {
  const pid_t pid = fork();
  if (pid == 0) {
    int count = 0;
    _exit(cudaGetDeviceCount(&count) == cudaSuccess ? std::min(count, 255) : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

// What a worker's environment says of ranks that share a device (coordinator/cluster).
void ClaimHost(int rank) {
  const std::string host = "skein-bench-" + std::to_string(getppid()) + "-" + std::to_string(rank);
  setenv("NCCL_HOSTID", host.c_str(), 1);
  setenv("NCCL_SOCKET_IFNAME", "lo", 1);
}

bool RunWorldSize(int world_size, const Options& options, bool uses_peer_memory) {
  const SharedWords words(kMaxRanks);
  // Each child fills its copy: registered memory outlives the communicator.
  DeviceArena arena("the bench", DeviceArena::Packing::kWithinPieces);
  ProcessGroupOptions group;
  group.kind = CollectiveKind::kNccl;
  group.world_size = world_size;
  group.deterministic = options.deterministic;
  group.connect_timeout_ms = kConnectTimeoutMs;
  group.prepare = [&](int rank) {
    if (options.ranks_per_device > 1) ClaimHost(rank);
    if (!uses_peer_memory) setenv("SKEIN_PEER_MEMORY", "0", 1);
    SKEIN_CUDA(cudaSetDevice(rank / options.ranks_per_device));
  };
  ProcessGroup processes(group, [&](Communicator& communicator) {
    RankBench bench(communicator, options, words, arena);
    for (const Case& test : Cases(options.max_bytes)) bench.Run(test);
    bench.RunChains();
    bench.Meet();
  });
  bool all_good = true;
  const std::vector<std::string> errors = processes.Wait(kGroupTimeoutMs);
  for (size_t rank = 0; rank < errors.size(); ++rank) {
    if (errors[rank].empty()) continue;
    std::fprintf(stderr, "cuda_collective_bench: rank %zu of %d: %s\n", rank, world_size,
                 errors[rank].c_str());
    all_good = false;
  }
  return all_good;
}

std::vector<int> ParseSizes(const char* text) {
  std::vector<int> sizes;
  for (const char* at = text; *at != '\0';) {
    char* end = nullptr;
    const long size = std::strtol(at, &end, 10);
    if (end == at || size < 2 || size > kMaxRanks) return {};
    sizes.push_back(static_cast<int>(size));
    at = *end == ',' ? end + 1 : end;
  }
  return sizes;
}

// False for what it does not understand.
bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--deterministic") {
      options->deterministic = true;
    } else if (flag == "--unregistered") {
      options->registers = false;
    } else if (i + 1 == argc) {
      return false;
    } else if (flag == "--world-sizes") {
      options->world_sizes = ParseSizes(argv[++i]);
    } else if (flag == "--ranks-per-device") {
      options->ranks_per_device = std::atoi(argv[++i]);
    } else if (flag == "--only") {
      options->only = argv[++i];
    } else if (flag == "--max-bytes") {
      options->max_bytes = static_cast<size_t>(std::strtoull(argv[++i], nullptr, 10));
    } else {
      return false;
    }
  }
  return !options->world_sizes.empty() && options->ranks_per_device >= 1 &&
         !Cases(options->max_bytes).empty();
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: cuda_collective_bench [--world-sizes 2,4] [--ranks-per-device K] "
                 "[--max-bytes N] [--deterministic] [--unregistered] [--only peer-memory|nccl]\n");
    return 2;
  }
  const int devices = CountDevices();
  bool all_good = true;
  for (const int world_size : options.world_sizes) {
    const int needed = (world_size + options.ranks_per_device - 1) / options.ranks_per_device;
    if (needed > devices) {
      std::fprintf(stderr, "cuda_collective_bench: %d ranks need %d devices, there are %d\n",
                   world_size, needed, devices);
      all_good = false;
    } else {
      for (const bool uses_peer_memory : {true, false}) {
        if (!options.only.empty() && (options.only == "peer-memory") != uses_peer_memory) continue;
        all_good = RunWorldSize(world_size, options, uses_peer_memory) && all_good;
      }
    }
  }
  return all_good ? 0 : 1;
}

}  // namespace
}  // namespace skein::cuda

int main(int argc, char** argv) { return skein::cuda::Main(argc, argv); }
