// The passes of every instruction set give the same bytes, and touch nothing beside what is theirs.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "picture/resize.h"

namespace skein::picture {
namespace {

struct Shape {
  int64_t width, height, columns, rows, tile_width, tile_height;
};

constexpr uint8_t kUntouched = 0xa5;
constexpr size_t kGuard = 64;

std::vector<uint8_t> Noise(int64_t size, std::mt19937& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (uint8_t& byte : bytes) {
    const auto value = static_cast<int>(random() % 384) - 64;
    byte = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
  return bytes;
}

// The tiles, and behind them kGuard bytes that must stay as they were.
std::vector<uint8_t> Resized(const std::vector<uint8_t>& pixels, const Shape& shape,
                             const RowKernels& kernels, int num_threads) {
  TileGrid grid = {nullptr, shape.columns, shape.rows, shape.tile_width, shape.tile_height};
  std::vector<uint8_t> tiles(static_cast<size_t>(grid.num_bytes()) + kGuard, kUntouched);
  grid.data = tiles.data();
  ResizeIntoTiles({pixels.data(), shape.width, shape.height}, grid, num_threads, kernels);
  for (size_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(tiles[tiles.size() - 1 - i], kUntouched) << "behind the tiles";
  }
  return tiles;
}

TEST(PictureResize, InstructionSetsAndThreadsGiveTheSameBytes) {
  const RowKernels* avx2 = Avx2RowKernels();
  if (avx2 == nullptr) GTEST_SKIP() << "this processor has no AVX2";
  std::mt19937 random(11);
  const auto side = [&](int64_t max) { return static_cast<int64_t>(random()) % max + 1; };
  for (int i = 0; i < 300; ++i) {
    const Shape shape = {side(200), side(200), side(3), side(3), side(100), side(60)};
    const std::vector<uint8_t> pixels = Noise(shape.width * shape.height * 3, random);
    const std::vector<uint8_t> expected = Resized(pixels, shape, PortableRowKernels(), 1);
    ASSERT_EQ(Resized(pixels, shape, *avx2, 1 + i % 4), expected)
        << shape.width << " x " << shape.height << " to " << shape.columns << " x " << shape.rows
        << " tiles of " << shape.tile_width << " x " << shape.tile_height;
  }
}

// Where every weight and pixel is at its limit the sums come nearest to leaving an int32.
TEST(PictureResize, ExtremesOfBlackAndWhite) {
  const RowKernels* avx2 = Avx2RowKernels();
  if (avx2 == nullptr) GTEST_SKIP() << "this processor has no AVX2";
  const Shape shape = {64, 1, 1, 1, 63, 1};
  std::vector<uint8_t> pixels(64 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = i / 3 % 2 == 0 ? 255 : 0;
  EXPECT_EQ(Resized(pixels, shape, *avx2, 1), Resized(pixels, shape, PortableRowKernels(), 1));
  std::fill(pixels.begin(), pixels.end(), 255);
  const std::vector<uint8_t> white = Resized(pixels, shape, *avx2, 1);
  for (size_t i = 0; i + kGuard < white.size(); ++i) EXPECT_EQ(white[i], 255) << i;
}

TEST(PictureResize, MoreThreadsThanWork) {
  std::mt19937 random(12);
  const Shape shape = {3, 2, 1, 1, 5, 4};
  const std::vector<uint8_t> pixels = Noise(18, random);
  EXPECT_EQ(Resized(pixels, shape, BestRowKernels(), 200),
            Resized(pixels, shape, PortableRowKernels(), 1));
}

}  // namespace
}  // namespace skein::picture
