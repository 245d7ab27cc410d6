// Exchanges that are recorded and replayed, as decode steps are: several ranks of one process on
// one GPU.
//
// They share a context: a call of one rank that waits for the device would wait for kernels that
// wait for what the other's thread has not launched yet, and may keep it from launching. Recording
// is such a call; loading a kernel, at its first launch, may be one. So every kernel runs once, op
// by op, before a rank goes on by itself, and nobody records before all have launched. Ranks of a
// process of their own, which is all that PeerCommunicator takes, cannot get into each other's way
// so: a rank waits for its own kernels only, and these for exchanges in front of them.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <barrier>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/graph_cache.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/peer_exchange.h"
#include "test/cuda/peer_group.h"
#include "test/cuda/under_checker.h"

namespace skein::cuda {
namespace {

using test::Download;
using test::PeerGroup;
using test::SameBits;
using test::Upload;

class PeerReplayTest : public test::PeerTest {
 protected:
  void CheckReplays(int world_size, int64_t rows, int replays);
};

// A step's exchanges of one rank after the other, as ops that can be launched by themselves.
class RecordedStep {
 public:
  static constexpr int64_t kCols = 5120;
  static constexpr int kExchanges = 5;

  RecordedStep(PeerGroup& group, int64_t rows, const std::vector<std::vector<float>>& partial,
               const std::vector<std::vector<float>>& other, const std::vector<float>& weight)
      : group_(group), rows_(rows), weight_(Upload(weight)) {
    norm_.weight = weight_.As<float>();
    norm_.eps = 1e-6f;
    const auto count = static_cast<size_t>(rows * kCols);
    for (int rank = 0; rank < group.world_size(); ++rank) {
      const auto r = static_cast<size_t>(rank);
      in_.push_back(Upload(partial[r]));
      source_.push_back(Upload(other[r]));
      scratch_.push_back(DeviceMemory(count * 4));
      residual_.push_back(Upload(std::vector<float>(count, 0.0f)));
      normed_.push_back(DeviceMemory(count * 2));
      gathered_.push_back(DeviceMemory(static_cast<size_t>(group.world_size()) * 1024));
    }
    SKEIN_CUDA(cudaDeviceSynchronize());
  }

  static constexpr int kOps = 6;
  void Launch(int rank, int op) {
    const auto r = static_cast<size_t>(rank);
    Stream& stream = group_.stream(rank);
    PeerExchange& exchange = group_.rank(rank);
    const auto add = [&](const DeviceMemory& partial) {
      const Matrix out = MakeMatrix(normed_[r].data(), DType::kBFloat16, rows_, kCols);
      ResidualNorm rows;
      rows.partial = MakeMatrix(partial.data(), DType::kFloat32, rows_, kCols);
      rows.residual = MakeMatrix(residual_[r].data(), DType::kFloat32, rows_, kCols);
      rows.norm = &norm_;
      rows.normed = &out;
      EXPECT_TRUE(exchange.SumResidualNorm(rows, stream));
    };
    switch (op) {
      case 0:
        add(in_[r]);
        break;
      case 1:
        CopyRows(source_[r].As<float>(), kCols, nullptr, nullptr, rows_, kCols,
                 scratch_[r].As<float>(), kCols, stream);
        break;
      case 2:
        exchange.Sum(scratch_[r].data(), rows_ * kCols, DType::kFloat32, stream);
        break;
      case 3:
        EXPECT_TRUE(exchange.Gather(scratch_[r].data(), gathered_[r].data(), 1024, stream));
        break;
      default:
        add(scratch_[r]);
    }
  }
  void LaunchAll(int rank) {
    for (int op = 0; op < kOps; ++op) Launch(rank, op);
  }
  std::vector<float> residual(int rank) const {
    return Download<float>(residual_[static_cast<size_t>(rank)]);
  }

 private:
  PeerGroup& group_;
  const int64_t rows_;
  const DeviceMemory weight_;
  NormWeights norm_;
  std::vector<DeviceMemory> in_, source_, scratch_, residual_, normed_, gathered_;
};

void PeerReplayTest::CheckReplays(int world_size, int64_t rows, int replays) {
  PeerGroup group(world_size, 4);
  const int64_t count = rows * RecordedStep::kCols;
  std::vector<std::vector<float>> partial, other;
  for (int rank = 0; rank < world_size; ++rank) {
    partial.push_back(Random<float>(count));
    other.push_back(Random<float>(count));
  }
  RecordedStep step(group, rows, partial, other, Random<float>(RecordedStep::kCols));
  for (int op = 0; op < RecordedStep::kOps; ++op) {
    group.OnEach([&](int rank) { step.Launch(rank, op); });
    group.Settle();
  }
  // The first run is eager, and then recorded: by threads, for recording waits for the device.
  std::vector<std::unique_ptr<GraphCache>> graphs;
  std::vector<std::thread> threads;
  std::barrier<> all_have_launched(world_size);
  for (int rank = 0; rank < world_size; ++rank) {
    graphs.push_back(std::make_unique<GraphCache>(group.stream(rank)));
  }
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank, is_eager = true]() mutable {
      graphs[static_cast<size_t>(rank)]->Run(1, [&] {
        step.LaunchAll(rank);
        if (std::exchange(is_eager, false)) all_have_launched.arrive_and_wait();
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < replays; ++i) {
    group.OnEach([&](int rank) {
      graphs[static_cast<size_t>(rank)]->Run(1, [&] { FAIL() << "not recorded"; });
    });
  }
  group.Settle();
  const int runs = replays + 2;
  const std::vector<float> sum = SumInOrder(partial), sum2 = SumInOrder(other);
  const std::vector<float> sum3 =
      SumInOrder(std::vector<std::vector<float>>(static_cast<size_t>(world_size), sum2));
  std::vector<float> expected(static_cast<size_t>(count), 0.0f);
  for (int i = 0; i < runs; ++i) {
    for (size_t j = 0; j < expected.size(); ++j) {
      expected[j] += sum[j];
      expected[j] += sum3[j];
      expected[j] += sum3[j];
    }
  }
  for (int rank = 0; rank < world_size; ++rank) {
    EXPECT_TRUE(SameBits(step.residual(rank), expected))
        << "rank " << rank << " of " << world_size << ", " << rows << " rows";
    EXPECT_EQ(group.rank(rank).begun(), static_cast<uint64_t>(RecordedStep::kExchanges * runs));
  }
}

// What a recorded step does: an odd number of exchanges, replayed, so that a recorded kernel takes
// both slots in turn. The residual collects every sum, the first one that is wrong too.
TEST_F(PeerReplayTest, AThousandReplaysOfAGraph) {
  // racecheck runs one recorded kernel after the other, and these wait for each other.
  if (IsUnderChecker()) GTEST_SKIP() << "recorded kernels of several ranks run at the same time";
  constexpr int kReplays = 1000;
  for (const int world_size : {2, 4}) {
    for (const int64_t rows : {1, 3}) CheckReplays(world_size, rows, kReplays);
  }
}

}  // namespace
}  // namespace skein::cuda
