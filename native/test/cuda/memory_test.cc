// Arenas, and weights on their way to the device. Sizes are far below what any GPU has.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "cuda/cuda_backend.h"
#include "cuda/cuda_check.h"
#include "cuda/device_arena.h"
#include "cuda/upload_stream.h"

namespace skein {
namespace {

using cuda::DeviceArena;
using cuda::UploadStream;

constexpr size_t kMiB = size_t{1} << 20;

int64_t FreeBytes() {
  size_t free_bytes = 0, total_bytes = 0;
  SKEIN_CUDA(cudaDeviceSynchronize());
  SKEIN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  return static_cast<int64_t>(free_bytes);
}

class CudaMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) GTEST_SKIP() << "no CUDA device";
    SKEIN_CUDA(cudaSetDevice(0));
    SKEIN_CUDA(cudaFree(nullptr));
  }
};

void FillPattern(void* place, size_t bytes, unsigned seed) {
  SKEIN_CUDA(cudaMemset(place, static_cast<int>(seed % 251), bytes));
}
void ExpectPattern(const void* place, size_t bytes, unsigned seed) {
  std::vector<unsigned char> values(bytes);
  SKEIN_CUDA(cudaMemcpy(values.data(), place, bytes, cudaMemcpyDeviceToHost));
  for (size_t i = 0; i < bytes; i += 4093) ASSERT_EQ(values[i], seed % 251) << i;
  ASSERT_EQ(values[bytes - 1], seed % 251);
}

// Allocations of 1 byte to 100 MiB: aligned, apart from each other, and kept while the arena grows.
void ExpectUsable(DeviceArena& arena) {
  const size_t sizes[] = {1, 255, 257, 3 * kMiB, 100 * kMiB, 70 * kMiB, 5, 64 * kMiB, 9 * kMiB};
  std::vector<void*> places;
  for (size_t i = 0; i < std::size(sizes); ++i) {
    places.push_back(arena.Allocate(sizes[i]));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(places[i]) % 256, 0u);
    ASSERT_TRUE(arena.Contains(places[i]));
    FillPattern(places[i], sizes[i], static_cast<unsigned>(i) + 1);
  }
  for (size_t i = 0; i < std::size(sizes); ++i) {
    ExpectPattern(places[i], sizes[i], static_cast<unsigned>(i) + 1);
  }
  ASSERT_GE(arena.held_bytes(), arena.bytes());
}

TEST_F(CudaMemoryTest, ADenseArenaLosesNothingAndGivesAllBack) {
  const int64_t before = FreeBytes();
  DeviceArena arena;
  char* const first = static_cast<char*>(arena.Allocate(100));
  EXPECT_EQ(static_cast<char*>(arena.Allocate(200 * kMiB)), first + 256);
  EXPECT_LT(arena.held_bytes(), arena.bytes() + 65 * kMiB);
  arena.Reset();
  EXPECT_EQ(arena.held_bytes(), 0u);
  ExpectUsable(arena);
  EXPECT_LE(FreeBytes(), before - static_cast<int64_t>(240 * kMiB));
  arena.Reset();
  EXPECT_FALSE(arena.Contains(first));
  EXPECT_GE(FreeBytes(), before - static_cast<int64_t>(4 * kMiB));
}

TEST_F(CudaMemoryTest, APackedArenaKeepsAllocationsWithinAPiece) {
  DeviceArena arena("test", DeviceArena::Packing::kWithinPieces);
  ExpectUsable(arena);
  arena.Reset();
  arena.Allocate(60 * kMiB);
  arena.Allocate(60 * kMiB);
  // The second starts a piece: two of 64 MiB.
  EXPECT_EQ(arena.held_bytes(), 128 * kMiB);
}

TEST_F(CudaMemoryTest, AnArenaWithoutMappingDoesTheSame) {
  const int64_t before = FreeBytes();
  DeviceArena arena;
  arena.AvoidMapping();
  ExpectUsable(arena);
  arena.Reset();
  EXPECT_GE(FreeBytes(), before - static_cast<int64_t>(4 * kMiB));
}

TEST_F(CudaMemoryTest, ARewoundArenaHandsOutTheSamePlaces) {
  DeviceArena arena;
  void* const first = arena.Allocate(80 * kMiB);
  const size_t held = arena.held_bytes();
  arena.Rewind();
  EXPECT_EQ(arena.Allocate(10), first);
  EXPECT_EQ(arena.held_bytes(), held);
}

TEST_F(CudaMemoryTest, AnArenaNamesWhatDoesNotFit) {
  DeviceArena arena("weights");
  arena.Allocate(kMiB);
  try {
    arena.Allocate(size_t{1} << 44);
    FAIL() << "16 TiB were there";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "DEVICE_OUT_OF_MEMORY");
    EXPECT_NE(std::string(error.what()).find("weights: 17592186044416 bytes beside"),
              std::string::npos)
        << error.what();
  }
  // And goes on.
  FillPattern(arena.Allocate(kMiB), kMiB, 3);
}

// Rows in several windows, whole and cut, converted where the types differ, beside the host's own
// conversion.
TEST_F(CudaMemoryTest, StreamedRowsArriveConverted) {
  constexpr int64_t kRows = 37, kCols = 1031, kStride = 1100;
  for (const DType from : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const DType to : {DType::kFloat32, DType::kBFloat16}) {
      DeviceArena arena;
      UploadStream stream;
      const Matrix dest =
          MakeMatrix(arena.Allocate(kRows * kStride * SizeOf(to)), to, kRows, kStride);
      stream.Clear(dest);
      std::vector<std::vector<char>> sent;
      for (int64_t row = 0; row < kRows; row += 5) {
        const int64_t rows = std::min<int64_t>(5, kRows - row);
        const Matrix buffer = MakeMatrix(stream.NextBuffer(), from, rows, kCols);
        for (int64_t i = 0; i < rows * kCols; ++i) {
          const float value = static_cast<float>((row * kCols + i) * 7919 % 20011) / 317 - 30;
          if (from == DType::kFloat32) {
            buffer.As<float>()[i] = value;
          } else if (from == DType::kBFloat16) {
            buffer.As<BFloat16>()[i] = BFloat16(value);
          } else {
            buffer.As<uint16_t>()[i] = static_cast<uint16_t>((row * kCols + i) * 7919 % 0x7c00);
          }
        }
        sent.emplace_back(buffer.As<char>(),
                          buffer.As<char>() + static_cast<size_t>(rows) * buffer.RowBytes());
        stream.Send(buffer, dest.Rows(row, rows).Cols(13, kCols));
      }
      stream.Wait();
      std::vector<char> got(kRows * kStride * SizeOf(to));
      SKEIN_CUDA(cudaMemcpy(got.data(), dest.data, got.size(), cudaMemcpyDeviceToHost));
      std::vector<char> expected(got.size(), 0);
      for (int64_t row = 0; row < kRows; ++row) {
        const auto& window = sent[static_cast<size_t>(row / 5)];
        ConvertElements(window.data() + static_cast<size_t>(row % 5 * kCols) * SizeOf(from), from,
                        expected.data() + static_cast<size_t>(row * kStride + 13) * SizeOf(to), to,
                        kCols);
      }
      EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size()), 0)
          << Name(from) << " to " << Name(to);
    }
  }
}

// Weights are loaded where they stay, and what a model held is given back before the next one.
TEST_F(CudaMemoryTest, ABackEndCountsItsMemory) {
  BackendOptions options;
  options.device = "cuda:0";
  const auto backend = MakeCudaBackend(options);
  backend->BeginLoad();
  {
    const auto kept = backend->NewWeight(DType::kBFloat16, 4096, 4096, TensorUse::kKept);
    const auto consumed = backend->NewWeight(DType::kInt32, 4096, 4096, TensorUse::kConsumed);
    RawLinear raw;
    raw.weight = kept->view();
    raw.in_features = raw.out_features = 4096;
    const int64_t before = backend->memory_use().weights;
    const auto linear = backend->PrepareLinear(raw, DType::kBFloat16);
    EXPECT_EQ(backend->memory_use().weights, before);
    EXPECT_EQ(linear->weight_bytes(), size_t{4096} * 4096 * 2);
  }
  backend->EndLoad();
  const auto scratch = backend->Allocate(DType::kFloat32, 1000, 1000);
  EXPECT_GT(backend->memory_use().activations, 4'000'000);
  {
    const auto cache = backend->AllocateKvCache({2, 100, 16, 4, 128}, DType::kBFloat16);
    EXPECT_GE(backend->memory_use().kv_cache, static_cast<int64_t>(cache->bytes()));
  }
  StepLimits limits;
  limits.max_rows = limits.max_sequences = limits.max_picture_rows = 64;
  limits.max_blocks_per_sequence = limits.block_size = 16;
  limits.num_query_heads = limits.num_kv_heads = 1;
  limits.head_dim = 128;
  limits.max_model_length = 256;
  backend->ReserveSteps(limits);
  const MemoryUse use = backend->memory_use();
  EXPECT_EQ(use.kv_cache, 0);
  EXPECT_GT(use.workspaces, 0);
  EXPECT_GE(use.total - use.free, use.weights + use.activations + use.workspaces);
  backend->BeginLoad();
  EXPECT_EQ(backend->memory_use().weights + backend->memory_use().activations, 0);
}

}  // namespace
}  // namespace skein
