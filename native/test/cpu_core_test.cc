// The thread pool, the buffers, conversions of types, the choice of instruction class, and the
// registry of back ends.
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/thread_pool.h"
#include "cpu/cpu_features.h"
#include "ops/backend.h"

namespace skein::test {
namespace {

TEST(ThreadPoolTest, RunsEveryIterationOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      pool.ParallelFor(count, [&](int64_t i) { runs[static_cast<size_t>(i)].fetch_add(1); });
      for (const auto& n : runs) EXPECT_EQ(n.load(), 1);
    }
  }
}

TEST(ThreadPoolTest, ManyShortLoopsNeitherLoseNorRepeatIterations) {
  // Loops of changing length, back to back, with threads that wake late: the seam where a late
  // thread could touch the next.
  ThreadPool pool(4);
  std::atomic<int64_t> total{0};
  int64_t expected = 0;
  for (int64_t round = 0; round < 3000; ++round) {
    const int64_t count = 1 + round * 7 % 13;
    int64_t marker = round;
    pool.ParallelFor(count, [&total, &marker, round](int64_t i) {
      ASSERT_EQ(marker, round);
      total.fetch_add(i + 1);
    });
    marker = -1;
    expected += count * (count + 1) / 2;
  }
  EXPECT_EQ(total.load(), expected);
}

TEST(ThreadPoolTest, UsesItsThreads) {
  ThreadPool pool(2);
  // Each iteration waits for the other: one thread alone would never finish the first.
  std::atomic<int> arrived{0};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  pool.ParallelFor(2, [&](int64_t) {
    arrived.fetch_add(1);
    while (arrived.load() < 2 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadPoolTest, WakesUpAfterSleeping) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // long past the spinning
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(100, [&](int64_t i) { sum.fetch_add(i); });
    EXPECT_EQ(sum.load(), 4950);
  }
}

TEST(ThreadPoolTest, AnExceptionReachesTheCallerAndThePoolGoesOn) {
  ThreadPool pool(3);
  std::atomic<int> runs{0};
  EXPECT_THROW(pool.ParallelFor(50,
                                [&](int64_t i) {
                                  runs.fetch_add(1);
                                  if (i == 7) throw Error("INTERNAL", "seven");
                                }),
               Error);
  EXPECT_EQ(runs.load(), 50);
  runs.store(0);
  pool.ParallelFor(50, [&](int64_t) { runs.fetch_add(1); });
  EXPECT_EQ(runs.load(), 50);
}

TEST(AlignedBufferTest, IsAlignedZeroedAndMovable) {
  for (const size_t bytes : {size_t{1}, size_t{65}, size_t{1} << 20, (size_t{5} << 20) + 3}) {
    AlignedBuffer buffer(bytes);
    ASSERT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0u);
    for (size_t i = 0; i < bytes; i += 997) EXPECT_EQ(buffer.As<char>()[i], 0);
    EXPECT_EQ(buffer.As<char>()[bytes - 1], 0);
    buffer.As<char>()[bytes - 1] = 7;
    AlignedBuffer moved = std::move(buffer);
    EXPECT_EQ(moved.As<char>()[bytes - 1], 7);
    moved.Reserve(bytes / 2);
    EXPECT_EQ(moved.bytes(), bytes);
    moved.Reserve(bytes * 2);
    EXPECT_EQ(moved.bytes(), bytes * 2);
  }
  EXPECT_EQ(AlignedBuffer(0).data(), nullptr);
  EXPECT_THROW(AlignedBuffer(size_t{1} << 60), Error);
}

// Sets an environment variable for one test.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedEnvironment() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(CpuFeaturesTest, TheVariableLowersTheClassAndNeverRaisesIt) {
  const auto classes = cpu::AvailableInstructionClasses();
  ASSERT_FALSE(classes.empty());
  EXPECT_EQ(classes.front(), cpu::InstructionClass::kPortable);
  EXPECT_EQ(classes.back(), cpu::DetectInstructionClass());
  EXPECT_EQ(cpu::ChooseInstructionClass(), cpu::DetectInstructionClass());
  for (const auto wanted : {cpu::InstructionClass::kPortable, cpu::InstructionClass::kAvx2,
                            cpu::InstructionClass::kAvx512, cpu::InstructionClass::kAvx512Bf16}) {
    const ScopedEnvironment environment("SKEIN_CPU_ISA", cpu::Name(wanted));
    if (wanted <= cpu::DetectInstructionClass()) {
      EXPECT_EQ(MakeBackend({})->instruction_class(), cpu::Name(wanted));
    } else {
      EXPECT_THROW(cpu::ChooseInstructionClass(), Error);
    }
  }
  const ScopedEnvironment unknown("SKEIN_CPU_ISA", "avx3");
  EXPECT_THROW(cpu::ChooseInstructionClass(), Error);
}

TEST(RegistryTest, MakesTheCpuBackEndAndRefusesOthersByName) {
  const auto backend = MakeBackend({"cpu", 1, true});
  EXPECT_EQ(backend->name(), "cpu");
  EXPECT_EQ(backend->activation_type(), DType::kFloat32);
  EXPECT_FALSE(backend->device_name().empty());
  EXPECT_GT(backend->memory_total_bytes(), 0);
  EXPECT_GT(backend->memory_free_bytes(), 0);
  EXPECT_LE(backend->memory_free_bytes(), backend->memory_total_bytes());
  for (const char* device : {"gpu", "", "cpu:0"}) {
    try {
      MakeBackend({device, 0, true});
      FAIL() << device;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "INVALID_REQUEST");
      EXPECT_NE(std::string(error.what()).find("device"), std::string::npos);
    }
  }
  EXPECT_THROW(MakeBackend({"cpu", -1, true}), Error);
}

// sign * 2^(exponent - 15) * 1.mantissa, or * 0.mantissa below the normal numbers.
float HalfByItsDefinition(uint16_t half) {
  const int exponent = (half >> 10) & 0x1f, mantissa = half & 0x3ff;
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) {
    return mantissa == 0 ? sign * std::numeric_limits<float>::infinity()
                         : std::numeric_limits<float>::quiet_NaN();
  }
  return exponent == 0 ? sign * std::ldexp(static_cast<float>(mantissa), -24)
                       : sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

TEST(ConvertElementsTest, EveryHalf) {
  std::vector<uint16_t> halves(size_t{1} << 16);
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  const auto count = static_cast<int64_t>(halves.size());
  std::vector<float> floats(halves.size());
  std::vector<BFloat16> narrow(halves.size());
  ConvertElements(halves.data(), DType::kFloat16, floats.data(), DType::kFloat32, count);
  ConvertElements(halves.data(), DType::kFloat16, narrow.data(), DType::kBFloat16, count);
  for (const uint16_t half : halves) {
    const float expected = HalfByItsDefinition(half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(floats[half]) && std::isnan(static_cast<float>(narrow[half]))) << half;
      continue;
    }
    EXPECT_EQ(std::bit_cast<uint32_t>(floats[half]), std::bit_cast<uint32_t>(expected)) << half;
    EXPECT_EQ(std::bit_cast<uint32_t>(HalfToFloat(half)), std::bit_cast<uint32_t>(expected));
    EXPECT_EQ(narrow[half].bits, BFloat16(expected).bits) << half;
  }
}

}  // namespace
}  // namespace skein::test
