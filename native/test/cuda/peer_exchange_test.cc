// Exchanges through peers' memory: several ranks on one GPU, each on a stream of its own, over
// plain pointers. Sums are compared bit for bit with a loop over the ranks on the host, the norm
// with the kernel that world size 1 has. A rank's kernels start while those before them wait, one
// after the other, and all must find room on the one GPU beside those of the other ranks: so blocks
// are few, and not many kernels are launched without a pause. Groups of processes are for test/gpu.
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/graph_cache.h"
#include "cuda/kernels/elementwise.h"
#include "cuda/peer_exchange.h"
#include "test/cuda/under_checker.h"

namespace skein::cuda {
namespace {

// Streams that share a queue of the device would wait for each other. Before the driver starts.
const bool kHasQueues = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

constexpr uint32_t kAllOnes = 0xffffffffu;

template <typename T>
DeviceMemory Upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  CopyAndWait(memory.data(), values.data(), memory.bytes());
  return memory;
}
template <typename T>
std::vector<T> Download(const DeviceMemory& memory) {
  std::vector<T> values(memory.bytes() / sizeof(T));
  CopyAndWait(values.data(), memory.data(), memory.bytes());
  return values;
}

template <typename T>
constexpr DType TypeOf() {
  return sizeof(T) == 4 ? DType::kFloat32 : DType::kBFloat16;
}

// Whether the bytes are the same, but for NaNs, which need only be NaNs.
template <typename T>
::testing::AssertionResult SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) == 0) continue;
    const auto x = static_cast<float>(a[i]), y = static_cast<float>(b[i]);
    if (std::isnan(x) && std::isnan(y)) continue;
    return ::testing::AssertionFailure() << "element " << i << ": " << x << " and " << y;
  }
  return ::testing::AssertionSuccess();
}

// The ranks of a group on one device.
class Group {
 public:
  Group(int world_size, int max_blocks, size_t slot_bytes = size_t{1} << 20) {
    std::vector<std::string> handles;
    for (int rank = 0; rank < world_size; ++rank) {
      PeerExchangeOptions options;
      options.rank = rank;
      options.world_size = world_size;
      options.slot_bytes = slot_bytes;
      options.max_blocks = max_blocks;
      ranks_.push_back(std::make_unique<PeerExchange>(options));
      streams_.push_back(std::make_unique<Stream>());
      handles.push_back(ranks_.back()->handle());
    }
    for (auto& rank : ranks_) EXPECT_EQ(rank->Open(handles), "");
  }
  ~Group() {
    for (auto& rank : ranks_) rank->Abort();
    cudaDeviceSynchronize();
  }

  int world_size() const { return static_cast<int>(ranks_.size()); }
  PeerExchange& rank(int rank) { return *ranks_[static_cast<size_t>(rank)]; }
  Stream& stream(int rank) { return *streams_[static_cast<size_t>(rank)]; }
  // Another rank first each time.
  template <typename Body>
  void OnEach(const Body& body) {
    for (int i = 0; i < world_size(); ++i) body((i + first_) % world_size());
    ++first_;
  }
  void Settle() {
    for (auto& stream : streams_) stream->Synchronize();
  }

 private:
  std::vector<std::unique_ptr<PeerExchange>> ranks_;
  std::vector<std::unique_ptr<Stream>> streams_;
  int first_ = 0;
};

class PeerExchangeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
    generator_.seed(11);
  }

  template <typename T>
  std::vector<T> Random(int64_t count) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<T> values(static_cast<size_t>(count));
    for (T& value : values) value = T(normal(generator_));
    return values;
  }
  // By rank; with what a sum must not stumble over.
  template <typename T>
  std::vector<std::vector<T>> RandomOfRanks(int world_size, int64_t count) {
    std::vector<std::vector<T>> values;
    for (int rank = 0; rank < world_size; ++rank) values.push_back(Random<T>(count));
    const auto put = [&](int64_t index, float value, bool on_all) {
      if (index >= count) return;
      for (int rank = 0; rank < (on_all ? world_size : 1); ++rank) {
        values[static_cast<size_t>(rank)][static_cast<size_t>(index)] = T(value);
      }
    };
    put(3, -0.0f, true);
    put(5, std::numeric_limits<float>::infinity(), false);
    put(8, std::numeric_limits<float>::denorm_min(), true);
    if (count > 20) std::memset(static_cast<void*>(&values[0][12]), 0xff, 4);
    return values;
  }
  template <typename T>
  static std::vector<T> SumInOrder(const std::vector<std::vector<T>>& values) {
    std::vector<T> sums(values[0].size());
    for (size_t i = 0; i < sums.size(); ++i) {
      auto sum = static_cast<float>(values[0][i]);
      for (size_t rank = 1; rank < values.size(); ++rank) sum += static_cast<float>(values[rank][i]);
      sums[i] = T(sum);
    }
    return sums;
  }

  template <typename T>
  void CheckSum(Group& group, int64_t count) {
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
  void CheckResidualNorm(Group& group, const Shape& shape);
  void CheckGather(Group& group, int64_t words);

  std::mt19937 generator_;
};

// Sums of one call, of several, and in parts.
TEST_F(PeerExchangeTest, SumsAreThoseOfALoopOverTheRanks) {
  for (const int world_size : {2, 3, 4, 5, 8}) {
    Group group(world_size, 16 / world_size);
    for (const int64_t count : Values({1, 7, 60, 3200, 5120, 5121, 3 * 5120 + 3, 130'003, 1'600'001},
                                      {7, 5121, 40'003})) {
      CheckSum<float>(group, count);
      CheckSum<BFloat16>(group, count);
    }
  }
}

template <typename T>
void PeerExchangeTest::CheckResidualNorm(Group& group, const Shape& shape) {
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
    const Matrix out =
        MakeMatrix(normed[r].data(), DType::kBFloat16, shape.rows, shape.cols);
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
    Group group(world_size, 16 / world_size, size_t{2} << 20);
    for (const int64_t cols : Values({8, 72, 3200, 5120, 6144}, {72, 5120})) {
      std::vector<int64_t> all_rows = {1, 2, 3};
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
  Group group(2, 8);
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

void PeerExchangeTest::CheckGather(Group& group, int64_t words) {
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
    Group group(world_size, 16 / world_size);
    for (const int64_t words : Values({1, 2, 3, 33, 500, 4'097, 100'001}, {3, 501})) {
      CheckGather(group, words);
    }
  }
}

// Whatever follows whatever: the two slots never meet. Ranks run ahead of each other by as much as
// the launches in between take.
TEST_F(PeerExchangeTest, ExchangesOfAllKindsFollowEachOther) {
  Group group(3, 6);
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

// What a recorded step does: an odd number of exchanges, replayed, so that a recorded kernel takes
// both slots in turn. The residual collects every sum, the first one that is wrong too.
TEST_F(PeerExchangeTest, AThousandReplaysOfAGraph) {
  const int replays = Times(1000, 5);
  constexpr int64_t kCols = 5120;
  for (const int world_size : {2, 4}) {
    for (const int64_t rows : {1, 3}) {
      Group group(world_size, 4);
      const int64_t count = rows * kCols;
      std::vector<std::vector<float>> partial, other;
      std::vector<DeviceMemory> in, source, scratch, residual, normed, gathered;
      for (int rank = 0; rank < world_size; ++rank) {
        partial.push_back(Random<float>(count));
        other.push_back(Random<float>(count));
        in.push_back(Upload(partial.back()));
        source.push_back(Upload(other.back()));
        scratch.push_back(DeviceMemory(static_cast<size_t>(count) * 4));
        residual.push_back(Upload(std::vector<float>(static_cast<size_t>(count), 0.0f)));
        normed.push_back(DeviceMemory(static_cast<size_t>(count) * 2));
        gathered.push_back(DeviceMemory(static_cast<size_t>(world_size) * 1024));
      }
      const DeviceMemory weight = Upload(Random<float>(kCols));
      NormWeights norm{NormKind::kRms, weight.As<float>(), nullptr, 1e-6f};
      SKEIN_CUDA(cudaDeviceSynchronize());
      const auto body = [&](int rank) {
        const auto r = static_cast<size_t>(rank);
        Stream& stream = group.stream(rank);
        PeerExchange& exchange = group.rank(rank);
        const Matrix out = MakeMatrix(normed[r].data(), DType::kBFloat16, rows, kCols);
        ResidualNorm op;
        op.partial = MakeMatrix(in[r].data(), DType::kFloat32, rows, kCols);
        op.residual = MakeMatrix(residual[r].data(), DType::kFloat32, rows, kCols);
        op.norm = &norm;
        op.normed = &out;
        EXPECT_TRUE(exchange.SumResidualNorm(op, stream));
        CopyRows(source[r].As<float>(), kCols, nullptr, nullptr, rows, kCols,
                 scratch[r].As<float>(), kCols, stream);
        exchange.Sum(scratch[r].data(), count, DType::kFloat32, stream);
        EXPECT_TRUE(exchange.Gather(scratch[r].data(), gathered[r].data(), 1024, stream));
        op.partial = MakeMatrix(scratch[r].data(), DType::kFloat32, rows, kCols);
        EXPECT_TRUE(exchange.SumResidualNorm(op, stream));
        EXPECT_TRUE(exchange.SumResidualNorm(op, stream));
      };
      std::vector<std::unique_ptr<GraphCache>> graphs;
      std::vector<std::thread> threads;
      for (int rank = 0; rank < world_size; ++rank) {
        graphs.push_back(std::make_unique<GraphCache>(group.stream(rank)));
      }
      for (int i = 0; i < replays; ++i) {
        // The first run is eager, and then recorded, which waits for the device: by threads.
        threads.clear();
        for (int rank = 0; i == 0 && rank < world_size; ++rank) {
          threads.emplace_back(
              [&, rank] { graphs[static_cast<size_t>(rank)]->Run(1, [&] { body(rank); }); });
        }
        for (std::thread& thread : threads) thread.join();
        if (i == 0) continue;
        group.OnEach([&](int rank) {
          graphs[static_cast<size_t>(rank)]->Run(1, [&] { FAIL() << "not recorded"; });
        });
      }
      group.Settle();
      const std::vector<float> sum = SumInOrder(partial), sum2 = SumInOrder(other);
      const std::vector<float> sum3 =
          SumInOrder(std::vector<std::vector<float>>(static_cast<size_t>(world_size), sum2));
      std::vector<float> expected(static_cast<size_t>(count), 0.0f);
      for (int i = 0; i < replays; ++i) {
        for (size_t j = 0; j < expected.size(); ++j) {
          expected[j] += sum[j];
          expected[j] += sum3[j];
          expected[j] += sum3[j];
        }
      }
      for (int rank = 0; rank < world_size; ++rank) {
        const auto r = static_cast<size_t>(rank);
        EXPECT_TRUE(SameBits(Download<float>(residual[r]), expected))
            << "rank " << rank << " of " << world_size << ", " << rows << " rows";
        EXPECT_EQ(group.rank(rank).begun(), static_cast<uint64_t>(5 * replays));
      }
    }
  }
}

// A rank that never comes: the others leave when told, and at once from then on. What they had sent
// before stays right for it.
TEST_F(PeerExchangeTest, AbortEndsWaitingAndLaterExchanges) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kCount = 5120;
  Group group(2, 8);
  const auto values = RandomOfRanks<float>(2, kCount);
  const DeviceMemory first = Upload(values[0]), second = Upload(values[1]);
  const auto sum = [&](int rank) {
    group.rank(rank).Sum(rank == 0 ? first.data() : second.data(), kCount, DType::kFloat32,
                         group.stream(rank));
  };
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
  EXPECT_TRUE(SameBits(Download<float>(second), SumInOrder(values)));
  sum(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(cudaStreamQuery(group.stream(1).ForDriver()), cudaErrorNotReady);
  group.rank(1).Abort();
  group.stream(1).Synchronize();
}

TEST_F(PeerExchangeTest, MemoryThatCannotBeReachedIsNamed) {
  PeerExchangeOptions options;
  options.slot_bytes = 1024;
  PeerExchange exchange(options);
  EXPECT_EQ(exchange.Open({exchange.handle(), "something else"}), "rank 1 hands out no memory");
}

}  // namespace
}  // namespace skein::cuda
