// NCCL: what does not take a second GPU. A group of one rank goes the whole way through joining,
// registration, recording and abort; two ranks that share a GPU show that an abort reaches a rank
// that is stuck. Sums over ranks are for test/gpu.
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "collective/communicator.h"
#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/device_arena.h"
#include "cuda/device_memory.h"
#include "cuda/stream.h"
#include "test/process_group.h"

namespace skein {
namespace {

class NcclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
    stream_ = std::make_unique<cuda::Stream>();
    values_ = arena_.New<float>(kCount);
    SKEIN_CUDA(cudaMemcpy(values_, host_.data(), kCount * sizeof(float), cudaMemcpyHostToDevice));
    SKEIN_CUDA(cudaDeviceSynchronize());
  }

  std::unique_ptr<Communicator> Connect(bool deterministic) {
    CommunicatorOptions options;
    options.kind = CollectiveKind::kNccl;
    options.deterministic = deterministic;
    const auto builder = MakeCommunicatorBuilder(options);
    return builder->Connect({builder->LocalAddress()}, 20'000);
  }
  std::vector<float> Read() {
    stream_->Synchronize();
    std::vector<float> values(kCount);
    SKEIN_CUDA(cudaMemcpy(values.data(), values_, kCount * sizeof(float), cudaMemcpyDeviceToHost));
    return values;
  }

  static constexpr size_t kCount = 5120;
  cuda::DeviceArena arena_{"test", cuda::DeviceArena::Packing::kWithinPieces};
  std::unique_ptr<cuda::Stream> stream_;
  float* values_ = nullptr;
  std::vector<float> host_ = [] {
    std::vector<float> values(kCount);
    for (size_t i = 0; i < kCount; ++i) values[i] = static_cast<float>(i) * 0.25f;
    return values;
  }();
};

TEST_F(NcclTest, RegisteredMemoryIsReducedInPlace) {
  for (const bool deterministic : {true, false}) {
    const auto communicator = Connect(deterministic);
    EXPECT_STREQ(communicator->kind(), "nccl");
    communicator->Register(values_, kCount * sizeof(float));
    communicator->AllReduce(values_, kCount, DType::kFloat32, ReduceOp::kSum, stream_.get());
    EXPECT_EQ(Read(), host_);
  }
}

TEST_F(NcclTest, CallsAreRecordedAndReplayed) {
  const auto communicator = Connect(false);
  communicator->Register(values_, kCount * sizeof(float));
  communicator->AllReduce(values_, kCount, DType::kFloat32, ReduceOp::kSum, stream_.get());
  stream_->Synchronize();
  cudaGraph_t graph = nullptr;
  SKEIN_CUDA(cudaStreamBeginCapture(stream_->ForDriver(), cudaStreamCaptureModeThreadLocal));
  communicator->AllReduce(values_, kCount, DType::kFloat32, ReduceOp::kSum, stream_.get());
  SKEIN_CUDA(cudaStreamEndCapture(stream_->ForDriver(), &graph));
  cudaGraphExec_t exec = nullptr;
  SKEIN_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 3; ++i) SKEIN_CUDA(cudaGraphLaunch(exec, stream_->ForDriver()));
  EXPECT_EQ(Read(), host_);
  // The host made two calls; the device ran one and replayed the other three times.
  EXPECT_EQ(communicator->device_calls(), 4u);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEST_F(NcclTest, AfterAbortCallsFailAndNothingHangs) {
  const auto start = std::chrono::steady_clock::now();
  auto communicator = Connect(true);
  communicator->Abort();
  communicator->Abort();
  try {
    communicator->AllReduce(values_, kCount, DType::kFloat32, ReduceOp::kMax, stream_.get());
    FAIL() << "an aborted communicator took a call";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "ABORTED");
  }
  communicator.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

// Rank 0 enqueues until nothing more fits, for its peer does not come, and is told to stop. Throws
// where that takes longer than Communicator::Abort promises.
void AbortAStuckRank(Communicator& communicator) {
  constexpr auto kStandsStill = std::chrono::milliseconds(500);
  constexpr double kLimitMs = 50;
  using Clock = std::chrono::steady_clock;
  cuda::Stream stream;
  const cuda::DeviceMemory data(1 << 20);
  const auto enqueue = [&] {
    communicator.AllReduce(data.data(), 1 << 18, DType::kFloat32, ReduceOp::kMax, &stream);
  };
  // The first call connects, which takes both.
  enqueue();
  stream.Synchronize();
  if (communicator.rank() != 0) return;
  std::atomic<int> calls{0};
  std::string code;
  Clock::time_point end;
  std::thread enqueuing([&] {
    try {
      while (calls.load() < 1'000'000) {
        enqueue();
        calls.fetch_add(1);
      }
    } catch (const Error& error) {
      code = error.code();
    }
    end = Clock::now();
  });
  int last = -1;
  while (last < 1 || calls.load() != last) {
    last = calls.load();
    std::this_thread::sleep_for(kStandsStill);
  }
  const auto start = Clock::now();
  communicator.Abort();
  enqueuing.join();
  const double ms = std::chrono::duration<double, std::milli>(end - start).count();
  std::printf("[          ] stuck behind %d calls, left %.2f ms after Abort\n", last, ms);
  SKEIN_CHECK(code == "ABORTED" && ms < kLimitMs, "%s after %.1f ms, behind %d calls", code.c_str(),
              ms, last);
  stream.Synchronize();
}

// In a process that has not used CUDA, and so may fork.
void RunStuckGroup() {
  const test::SharedWords is_over(1);
  test::ProcessGroupOptions options;
  options.kind = CollectiveKind::kNccl;
  options.world_size = 2;
  options.deterministic = false;
  options.connect_timeout_ms = 30'000;
  options.prepare = [](int rank) {
    setenv("NCCL_HOSTID", ("stuck-" + std::to_string(rank)).c_str(), 1);
    setenv("NCCL_SOCKET_IFNAME", "lo", 1);
  };
  test::ProcessGroup group(options, [&](Communicator& communicator) {
    AbortAStuckRank(communicator);
    if (communicator.rank() == 0) is_over[0].store(1);
    while (is_over[0].load() == 0) usleep(1000);
    communicator.Abort();
    std::fflush(nullptr);
  });
  for (const std::string& error : group.Wait(60'000)) {
    if (error.empty()) continue;
    std::fprintf(stderr, "%s\n", error.c_str());
    std::exit(1);
  }
  std::exit(0);
}

TEST(NcclDeathTest, AnAbortReachesARankThatIsStuckEnqueuing) {
  if (access("/dev/nvidiactl", F_OK) != 0) GTEST_SKIP() << "no CUDA device";
  // Runs this test in a process of its own.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(RunStuckGroup(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace skein
