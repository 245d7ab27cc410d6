#include "core/byte_checksum.h"

#include <algorithm>
#include <cstring>

namespace skein {
namespace {

constexpr int64_t kWordBytes = 4;
// Even, so that keys are odd: no change of a word is multiplied away. Successive keys share nothing
// that changes of neighbouring words could cancel by.
constexpr uint32_t kKeyStep = 0x9e3779b2;
constexpr uint32_t kFileStep = 0x85ebca76;

uint32_t KeyOf(int64_t file, int64_t word) {
  return 1 + static_cast<uint32_t>(file) * kFileStep + static_cast<uint32_t>(word) * kKeyStep;
}

// Part of one word, from its byte `first` on; what others add is zero here.
uint64_t PartOf(const uint8_t* data, int64_t first, int64_t bytes, uint32_t key) {
  uint32_t word = 0;
  for (int64_t i = 0; i < bytes; ++i) {
    word |= static_cast<uint32_t>(data[i]) << (8 * static_cast<uint32_t>(first + i));
  }
  return uint64_t{word} * key;
}

}  // namespace

uint64_t ChecksumOf(const void* data, int64_t bytes, int64_t file, int64_t offset) {
  const auto* from = static_cast<const uint8_t*>(data);
  uint64_t sum = 0;
  const int64_t first = offset % kWordBytes;
  if (first != 0) {
    const int64_t head = std::min(kWordBytes - first, bytes);
    sum += PartOf(from, first, head, KeyOf(file, offset / kWordBytes));
    from += head;
    offset += head;
    bytes -= head;
  }
  const uint32_t key = KeyOf(file, offset / kWordBytes);
  const int64_t words = bytes / kWordBytes;
  for (int64_t i = 0; i < words; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, from + i * kWordBytes, sizeof(word));
    sum += uint64_t{word} * static_cast<uint32_t>(key + static_cast<uint32_t>(i) * kKeyStep);
  }
  const int64_t tail = words * kWordBytes;
  return sum + PartOf(from + tail, 0, bytes - tail, key + static_cast<uint32_t>(words) * kKeyStep);
}

}  // namespace skein
