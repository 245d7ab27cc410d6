// NCCL in one process: what does not take a second GPU or process. A group of one rank goes the
// whole way through joining, registration, recording and abort; sums over ranks are for
// test/gpu.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "collective/communicator.h"
#include "core/error.h"
#include "cuda/cuda_check.h"
#include "cuda/device_arena.h"
#include "cuda/stream.h"

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

}  // namespace
}  // namespace skein
