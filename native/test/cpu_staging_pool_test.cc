// Memory of weights that were packed serves the next ones, and no more of it is kept than is said.
#include <gtest/gtest.h>

#include <cstring>

#include "cpu/cpu_backend.h"
#include "cpu/staging_pool.h"

namespace skein::test {
namespace {

using cpu::StagingPool;

constexpr size_t kMiB = size_t{1} << 20;

TEST(StagingPoolTest, GivesTheSmallestThatIsLargeEnough) {
  StagingPool pool;
  pool.Open();
  AlignedBuffer large = pool.Take(8 * kMiB).buffer, small = pool.Take(4 * kMiB).buffer;
  const void* const large_at = large.data();
  const void* const small_at = small.data();
  pool.GiveBack(std::move(large));
  pool.GiveBack(std::move(small));
  EXPECT_EQ(pool.kept_bytes(), 12 * kMiB);
  const StagingPool::Taken first = pool.Take(3 * kMiB), second = pool.Take(3 * kMiB);
  EXPECT_TRUE(first.is_used && second.is_used);
  EXPECT_EQ(first.buffer.data(), small_at);
  EXPECT_EQ(second.buffer.data(), large_at);
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(StagingPoolTest, KeepsNothingBesideALargerOne) {
  StagingPool pool;
  pool.Open();
  pool.GiveBack(pool.Take(4 * kMiB).buffer);
  EXPECT_FALSE(pool.Take(8 * kMiB).is_used);
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(StagingPoolTest, KeepsNoMoreThanItSays) {
  StagingPool pool;
  pool.Open();
  pool.GiveBack(AlignedBuffer(StagingPool::kMaxKeptBytes + 1));
  EXPECT_EQ(pool.kept_bytes(), 0u);
  pool.GiveBack(AlignedBuffer(StagingPool::kMaxKeptBytes));
  pool.GiveBack(AlignedBuffer(kMiB));
  EXPECT_EQ(pool.kept_bytes(), StagingPool::kMaxKeptBytes);
}

TEST(StagingPoolTest, KeepsNothingOutsideALoad) {
  StagingPool pool;
  pool.GiveBack(AlignedBuffer(kMiB));
  EXPECT_EQ(pool.kept_bytes(), 0u);
  pool.Open();
  pool.GiveBack(AlignedBuffer(kMiB));
  pool.Close();
  EXPECT_EQ(pool.kept_bytes(), 0u);
  pool.GiveBack(AlignedBuffer(kMiB));
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

// A tensor whose slices leave room, of a rank with fewer rows than others, counts on zeros.
TEST(StagingPoolTest, WeightsBeginZeroed) {
  const auto backend = cpu::MakeCpuBackendOfClass(1, cpu::ChooseInstructionClass());
  backend->BeginLoad();
  constexpr int64_t kRows = 1025, kCols = 1024;
  const void* first_at = nullptr;
  {
    const auto first = backend->NewWeight(DType::kFloat32, kRows, kCols, TensorUse::kConsumed);
    first_at = first->view().data;
    std::memset(first->view().data, 0xff, kRows * kCols * sizeof(float));
  }
  const auto second = backend->NewWeight(DType::kFloat32, kRows, kCols, TensorUse::kConsumed);
  ASSERT_EQ(second->view().data, first_at);
  const auto* values = second->view().As<float>();
  for (int64_t i = 0; i < kRows * kCols; ++i) ASSERT_EQ(values[i], 0) << i;
  backend->EndLoad();
}

}  // namespace
}  // namespace skein::test
