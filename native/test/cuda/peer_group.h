// The ranks of a group that exchange through peers' memory, all on one GPU, and what their tests
// move and compare.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda/cuda_check.h"
#include "cuda/device_copy.h"
#include "cuda/device_memory.h"
#include "cuda/peer_exchange.h"

namespace skein::test {

// Streams that share a queue of the device would wait for each other. Before the driver starts.
inline const bool kHasQueues = setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

using cuda::CopyAndWait;
using cuda::DeviceMemory;
using cuda::PeerExchange;
using cuda::PeerExchangeOptions;
using cuda::Stream;

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
class PeerGroup {
 public:
  PeerGroup(int world_size, int max_blocks, size_t slot_bytes = size_t{1} << 20) {
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
  ~PeerGroup() {
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

// A test of several ranks on one device, and the numbers that they exchange.
class PeerTest : public ::testing::Test {
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
      for (size_t rank = 1; rank < values.size(); ++rank)
        sum += static_cast<float>(values[rank][i]);
      sums[i] = T(sum);
    }
    return sums;
  }

  std::mt19937 generator_;
};

}  // namespace skein::test
