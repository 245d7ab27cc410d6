// Takes values out of a fuzzer's bytes, one after another; zeros once they are used up. A number's
// width follows its range, so that a change of one byte is a change of one value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace skein::fuzz {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool is_empty() const { return at_ == size_; }

  uint64_t Bits(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes && at_ < size_; ++i) {
      value |= static_cast<uint64_t>(data_[at_++]) << (8 * i);
    }
    return value;
  }
  // low .. high, both included.
  int64_t In(int64_t low, int64_t high) {
    const auto span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    const int bytes = span < 0x100 ? 1 : span < 0x10000 ? 2 : span < 0x100000000 ? 4 : 8;
    const uint64_t offset = span == UINT64_MAX ? Bits(bytes) : Bits(bytes) % (span + 1);
    return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
  }
  bool Flag() { return Bits(1) % 2 == 1; }
  // Mostly small and near `likely`, now and then anything that a JavaScript integer holds.
  int64_t Count(int64_t likely) {
    switch (Bits(1) % 8) {
      case 0:
        return In(0, (int64_t{1} << 53) - 1);
      case 1:
        return int64_t{1} << In(0, 52);
      case 2:
        return 0;
      case 3:
        return likely + 1;
      default:
        return In(0, likely);
    }
  }
  template <typename T>
  const T& Pick(const std::vector<T>& values) {
    return values[static_cast<size_t>(In(0, static_cast<int64_t>(values.size()) - 1))];
  }
  float Float() {
    const uint32_t bits = static_cast<uint32_t>(Bits(4));
    float value = 0;
    static_assert(sizeof(value) == sizeof(bits));
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
  }
  const uint8_t* rest() const { return data_ + at_; }
  size_t rest_size() const { return size_ - at_; }

 private:
  const uint8_t* data_;
  size_t size_;
  size_t at_ = 0;
};

}  // namespace skein::fuzz
