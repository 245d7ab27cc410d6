// Exchanges through peers' memory: several ranks on one GPU, each on a stream of its own, over
// plain pointers. Sums are compared bit for bit with a loop over the ranks on the host, the norm
// with the kernel that world size 1 has. A rank's kernels start while those before them wait, one
// after the other, and all must find room on the one GPU beside those of the other ranks: so blocks
// are few, and not many kernels are launched without a pause. Groups of processes are for test/gpu.
#include "cuda/peer_exchange.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/device_memory.h"
#include "cuda/kernels/elementwise.h"
#include "test/cuda/peer_group.h"
#include "test/cuda/under_checker.h"

namespace skein::cuda {
namespace {

using test::Download;
using test::PeerGroup;
using test::PeerTest;
using test::SameBits;
using test::TypeOf;
using test::Upload;

constexpr uint32_t kAllOnes = 0xffffffffu;

class PeerExchangeTest : public PeerTest {
 protected:
  template <typename T>
  void CheckSum(PeerGroup& group, int64_t count) {
    const auto values = RandomOfRanks<T>(group.world_size(), count);
    const std::vector<T> expected = SumInOrder(values);
    std::vector<DeviceMemory> data;
    for (const auto& of_rank : values) data.push_back(Upload(of_rank));
    group.OnEach([&](int rank) {
      group.rank(rank).Sum(data[static_cast<size_t>(rank)].data(), count, TypeOf<T>(),
                           group.stream(rank));
    });
    group.Settle();
    for (size_t rank = 0; rank < data.size(); ++rank) {
      EXPECT_TRUE(SameBits(Download<T>(data[rank]), expected))
          << "rank " << rank << " of " << data.size() << ", " << count << " of " << sizeof(T)
          << " bytes";
    }
  }

  struct Shape {
    int64_t rows, cols;
    bool has_norm, is_layer_norm, is_scaled;
  };
  template <typename T>
  void CheckResidualNorm(PeerGroup& group, const Shape& shape);
  void CheckGather(PeerGroup& group, int64_t words);
};

// Sums of one call, of several, and in parts.
TEST_F(PeerExchangeTest, SumsAreThoseOfALoopOverTheRanks) {
  for (const int world_size : {2, 3, 4, 5, 8}) {
    PeerGroup group(world_size, 16 / world_size);
    for (const int64_t count : Values(
             {1, 7, 60, 3200, 5120, 5121, 3 * 5120 + 3, 130'003, 1'600'001}, {7, 5121, 40'003})) {
      CheckSum<float>(group, count);
      CheckSum<BFloat16>(group, count);
    }
  }
}

template <typename T>
void PeerExchangeTest::CheckResidualNorm(PeerGroup& group, const Shape& shape) {
  const int64_t count = shape.rows * shape.cols;
  const auto partial = RandomOfRanks<T>(group.world_size(), count);
  const std::vector<float> old = Random<float>(count);
  const DeviceMemory bias = Upload(Random<float>(shape.cols)),
                     scale = Upload(Random<float>(shape.cols)),
                     weight = Upload(Random<float>(shape.cols)),
                     norm_bias = Upload(Random<float>(shape.cols));
  NormWeights norm;
  norm.kind = shape.is_layer_norm ? NormKind::kLayer : NormKind::kRms;
  norm.weight = weight.As<float>();
  norm.bias = shape.is_layer_norm ? norm_bias.As<float>() : nullptr;
  norm.eps = 1e-6f;
  const float* added = shape.is_scaled ? bias.As<float>() : nullptr;
  const float* factor = shape.is_scaled ? scale.As<float>() : nullptr;

  // As without ranks.
  const DeviceMemory sum = Upload(SumInOrder(partial)), expected = Upload(old);
  const std::vector<uint16_t> poison(static_cast<size_t>(count), 0xffff);
  const DeviceMemory expected_normed = Upload(poison);
  const NormArguments arguments{shape.is_layer_norm, norm.weight, norm.bias, norm.eps};
  using Device = std::conditional_t<sizeof(T) == 4, float, __nv_bfloat16>;
  AddResidualNorm(sum.As<Device>(), shape.cols, added, factor, expected.As<float>(), shape.cols,
                  shape.has_norm ? &arguments : nullptr, shape.rows, shape.cols,
                  expected_normed.As<__nv_bfloat16>(), shape.cols, group.stream(0));
  group.Settle();

  std::vector<DeviceMemory> in, residual, normed;
  for (const auto& of_rank : partial) {
    in.push_back(Upload(of_rank));
    residual.push_back(Upload(old));
    normed.push_back(Upload(poison));
  }
  group.OnEach([&](int rank) {
    const auto r = static_cast<size_t>(rank);
    const Matrix out = MakeMatrix(normed[r].data(), DType::kBFloat16, shape.rows, shape.cols);
    ResidualNorm rows;
    rows.partial = MakeMatrix(in[r].data(), TypeOf<T>(), shape.rows, shape.cols);
    rows.bias = added;
    rows.scale = factor;
    rows.residual = MakeMatrix(residual[r].data(), DType::kFloat32, shape.rows, shape.cols);
    rows.norm = shape.has_norm ? &norm : nullptr;
    rows.normed = shape.has_norm ? &out : nullptr;
    EXPECT_TRUE(group.rank(rank).SumResidualNorm(rows, group.stream(rank)));
  });
  group.Settle();
  for (size_t rank = 0; rank < in.size(); ++rank) {
    SCOPED_TRACE(testing::Message() << "rank " << rank << " of " << in.size() << ", " << shape.rows
                                    << " x " << shape.cols << " of " << sizeof(T) << " bytes");
    EXPECT_TRUE(SameBits(Download<float>(residual[rank]), Download<float>(expected)));
    EXPECT_TRUE(SameBits(Download<BFloat16>(normed[rank]), Download<BFloat16>(expected_normed)));
    EXPECT_TRUE(SameBits(Download<T>(in[rank]), partial[rank]));
  }
}

// Rows of one block, of clusters, and more rows than blocks; in one call and in several.
TEST_F(PeerExchangeTest, ResidualAndNormAreThoseOfTheKernelWithoutRanks) {
  for (const int world_size : {2, 3, 4, 8}) {
    // Of more ranks than two, longer vectors are summed in parts, without the norm.
    const bool is_pair = world_size == 2;
    PeerGroup group(world_size, 16 / world_size, size_t{2} << 20);
    for (const int64_t cols : Values({8, 72, 3200, 5120, 6144}, {72, 5120})) {
      std::vector<int64_t> all_rows = Values({1, 2, 3}, {1, 3});
      if (is_pair) all_rows = Values({1, 2, 3, 5, 8, 16, 33, 64, 300}, {1, 3, 33});
      for (const int64_t rows : all_rows) {
        for (const bool is_layer_norm : {false, true}) {
          CheckResidualNorm<float>(group, {rows, cols, true, is_layer_norm, is_layer_norm});
        }
        CheckResidualNorm<float>(group, {rows, cols, false, false, true});
        CheckResidualNorm<BFloat16>(group, {rows, cols, true, false, false});
      }
    }
  }
}

TEST_F(PeerExchangeTest, WidthsThatTheFusedKernelDoesNotTakeAreLeftToOthers) {
  PeerGroup group(2, 8);
  const DeviceMemory memory(8 * 8192 * sizeof(float));
  for (const int64_t cols : {7, 60, 6152}) {
    ResidualNorm rows;
    rows.partial = MakeMatrix(memory.data(), DType::kFloat32, 1, cols);
    rows.residual = rows.partial;
    EXPECT_FALSE(group.rank(0).SumResidualNorm(rows, group.stream(0))) << cols;
  }
  EXPECT_FALSE(group.rank(0).Gather(memory.data(), memory.data(), 6, group.stream(0)));
  group.Settle();
  EXPECT_EQ(group.rank(0).begun(), 0u);
}

void PeerExchangeTest::CheckGather(PeerGroup& group, int64_t words) {
  std::vector<std::vector<uint32_t>> sent;
  std::vector<uint32_t> expected;
  std::vector<DeviceMemory> send, receive;
  for (int rank = 0; rank < group.world_size(); ++rank) {
    std::vector<uint32_t> values(static_cast<size_t>(words));
    // Every third says what empty memory says.
    for (uint32_t& value : values) value = generator_() % 3 == 0 ? kAllOnes : generator_();
    expected.insert(expected.end(), values.begin(), values.end());
    send.push_back(Upload(values));
    receive.push_back(DeviceMemory(static_cast<size_t>(words * group.world_size()) * 4));
  }
  SKEIN_CUDA(cudaDeviceSynchronize());
  group.OnEach([&](int rank) {
    const auto r = static_cast<size_t>(rank);
    EXPECT_TRUE(group.rank(rank).Gather(send[r].data(), receive[r].data(),
                                        static_cast<size_t>(words) * 4, group.stream(rank)));
  });
  group.Settle();
  for (const DeviceMemory& memory : receive) {
    EXPECT_EQ(Download<uint32_t>(memory), expected) << words << " words";
  }
}

TEST_F(PeerExchangeTest, BytesOfAnyMeaningAreGathered) {
  for (const int world_size : {2, 3, 8}) {
    PeerGroup group(world_size, 16 / world_size);
    for (const int64_t words : Values({1, 2, 3, 33, 500, 4'097, 100'001}, {3, 501})) {
      CheckGather(group, words);
    }
  }
}

// Whatever follows whatever: the two slots never meet. Ranks run ahead of each other by as much as
// the launches in between take.
TEST_F(PeerExchangeTest, ExchangesOfAllKindsFollowEachOther) {
  PeerGroup group(3, 6);
  for (int i = 0; i < Times(150, 6); ++i) {
    switch (generator_() % 4) {
      case 0:
        CheckSum<float>(group, 1 + generator_() % 30'000);
        break;
      case 1:
        CheckSum<BFloat16>(group, 1 + generator_() % 400'000);
        break;
      case 2:
        CheckResidualNorm<float>(
            group, {1 + static_cast<int64_t>(generator_() % 5), 5120, true, false, false});
        break;
      default:
        CheckGather(group, 1 + generator_() % 3'000);
    }
  }
}

std::vector<DeviceMemory> UploadAll(const std::vector<std::vector<float>>& values) {
  std::vector<DeviceMemory> vectors;
  for (const std::vector<float>& each : values) vectors.push_back(Upload(each));
  return vectors;
}

// One rank's part of a sum: of its vector, in place.
void SumOwn(PeerGroup& group, int rank, const std::vector<DeviceMemory>& vectors) {
  const DeviceMemory& own = vectors[static_cast<size_t>(rank)];
  group.rank(rank).Sum(own.data(), static_cast<int64_t>(own.bytes() / sizeof(float)),
                       DType::kFloat32, group.stream(rank));
}

// A rank that never comes: the others leave when told, and at once from then on. What they had sent
// before stays right for it.
TEST_F(PeerExchangeTest, AbortEndsWaitingAndLaterExchanges) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kCount = 5120;
  PeerGroup group(2, 8);
  const auto values = RandomOfRanks<float>(2, kCount);
  const std::vector<DeviceMemory> vectors = UploadAll(values);
  const auto sum = [&](int rank) { SumOwn(group, rank, vectors); };
  sum(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(cudaStreamQuery(group.stream(0).ForDriver()), cudaErrorNotReady);
  EXPECT_EQ(group.rank(0).begun(), 1u);
  auto start = Clock::now();
  group.rank(0).Abort();
  group.stream(0).Synchronize();
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(Times(50, 5000)));
  start = Clock::now();
  for (int i = 0; i < 100; ++i) sum(0);
  group.stream(0).Synchronize();
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(Times(50, 5000)));

  // The other rank gets what was sent before the abort, and nothing of what came after it.
  sum(1);
  group.stream(1).Synchronize();
  EXPECT_TRUE(SameBits(Download<float>(vectors[1]), SumInOrder(values)));
  sum(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(cudaStreamQuery(group.stream(1).ForDriver()), cudaErrorNotReady);
  group.rank(1).Abort();
  group.stream(1).Synchronize();
}

// By the device's clock; what the last exchange took is told by the one behind it.
TEST_F(PeerExchangeTest, WhoWaitedIsTold) {
  constexpr int64_t kCount = 5120, kLateNs = 30'000'000;
  PeerGroup group(2, 8);
  const auto values = RandomOfRanks<float>(2, kCount);
  const std::vector<DeviceMemory> vectors = UploadAll(values);
  const auto sum = [&](int rank) { SumOwn(group, rank, vectors); };
  sum(0);
  std::this_thread::sleep_for(std::chrono::nanoseconds(kLateNs));
  sum(1);
  group.Settle();
  group.OnEach(sum);
  group.Settle();
  const int64_t early = group.rank(0).TakeWaitNanoseconds();
  const int64_t late = group.rank(1).TakeWaitNanoseconds();
  EXPECT_GE(early, kLateNs / 2);
  EXPECT_GE(late, 0);
  EXPECT_LT(late, early);
  EXPECT_EQ(group.rank(0).TakeWaitNanoseconds(), 0) << "taken";
}

// Enqueuing itself waits when the device's queue is full of exchanges that do. An abort takes no
// call of CUDA's, and so reaches that, too.
TEST_F(PeerExchangeTest, AnAbortReachesARankThatIsStuckEnqueuing) {
  if (IsUnderChecker()) GTEST_SKIP() << "a checker takes minutes to fill the queue";
  using Clock = std::chrono::steady_clock;
  constexpr int kCalls = 20'000;
  PeerGroup group(2, 1);
  const DeviceMemory data(1024 * sizeof(float));
  std::atomic<int> calls{0};
  std::thread enqueuing([&] {
    while (calls.fetch_add(1) < kCalls) {
      group.rank(0).Sum(data.data(), 64, DType::kFloat32, group.stream(0));
    }
  });
  int last = -1;
  while (calls.load() != last) {
    last = calls.load();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  const auto start = Clock::now();
  group.rank(0).Abort();
  while (calls.load() == last && Clock::now() - start < std::chrono::seconds(5)) {
  }
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  enqueuing.join();
  group.stream(0).Synchronize();
  EXPECT_LT(last, kCalls) << "nothing was stuck";
  EXPECT_LT(ms, Times(50, 5000));
  std::printf("[          ] stuck behind %d calls, left %.2f ms after Abort\n", last, ms);
}

TEST_F(PeerExchangeTest, MemoryThatCannotBeReachedIsNamed) {
  PeerExchangeOptions options;
  options.slot_bytes = 1024;
  PeerExchange exchange(options);
  EXPECT_EQ(exchange.Open({exchange.handle(), "something else"}), "rank 1 hands out no memory");
}

}  // namespace
}  // namespace skein::cuda
