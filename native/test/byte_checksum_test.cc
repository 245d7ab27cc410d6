// A checksum of a file's bytes is the same in whatever pieces and order they are read, and another
// when any of them changes.
#include "core/byte_checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace skein::test {
namespace {

std::vector<uint8_t> RandomBytes(size_t count) {
  std::mt19937 random(count);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

TEST(ByteChecksum, DoesNotDependOnPieces) {
  const std::vector<uint8_t> bytes = RandomBytes(1000);
  std::mt19937 random(1);
  for (int64_t offset = 0; offset < 9; ++offset) {
    const uint64_t whole = ChecksumOf(bytes.data(), 1000, 2, offset);
    for (int round = 0; round < 50; ++round) {
      std::vector<int64_t> cuts = {0, 1000};
      while (cuts.size() < 12) cuts.push_back(static_cast<int64_t>(random() % 1001));
      std::sort(cuts.begin(), cuts.end());
      uint64_t sum = 0;
      for (size_t i = cuts.size() - 1; i > 0; --i) {
        sum +=
            ChecksumOf(bytes.data() + cuts[i - 1], cuts[i] - cuts[i - 1], 2, offset + cuts[i - 1]);
      }
      ASSERT_EQ(sum, whole) << offset << ", round " << round;
    }
  }
}

TEST(ByteChecksum, ShowsEveryBit) {
  std::vector<uint8_t> bytes = RandomBytes(103);
  const uint64_t whole = ChecksumOf(bytes.data(), 103, 0, 5);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    EXPECT_NE(ChecksumOf(bytes.data(), 103, 0, 5), whole) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
  }
}

// What a sum without places, or with keys that repeat, would miss.
TEST(ByteChecksum, ShowsTheSameChangeTwiceAndWordsThatChangePlaces) {
  std::vector<uint8_t> bytes = RandomBytes(4096);
  const auto sum = [&] { return ChecksumOf(bytes.data(), 4096, 0, 0); };
  const uint64_t whole = sum();
  for (size_t other = 4; other < 4096; other += 4) {
    for (const size_t at : {size_t{3}, other + 3}) bytes[at] ^= 0x80;
    EXPECT_NE(sum(), whole) << other;
    for (const size_t at : {size_t{3}, other + 3}) bytes[at] ^= 0x80;
    std::swap_ranges(bytes.begin(), bytes.begin() + 4, bytes.begin() + static_cast<int64_t>(other));
    EXPECT_NE(sum(), whole) << other;
    std::swap_ranges(bytes.begin(), bytes.begin() + 4, bytes.begin() + static_cast<int64_t>(other));
  }
  EXPECT_NE(ChecksumOf(bytes.data(), 4096, 1, 0), whole);
  EXPECT_NE(ChecksumOf(bytes.data(), 4096, 0, 4), whole);
}

}  // namespace
}  // namespace skein::test
