// Which input positions each output position of a bicubic resize is made of, and their weights, as
// Pillow computes them (libImaging/Resample.c, 8 bits a channel): the models were trained on its
// bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace skein::picture {

// Weights are 22-bit fixed point: 8 bits of pixel and 2 of headroom (negative lobes) stay free in
// an int32 sum.
inline constexpr int kPrecisionBits = 22;
inline constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);
// A weight is high * 2^11 + low, both of 16 bits: so the sums are exact in products of 16-bit
// pairs.
inline constexpr int kLowBits = 11;

class ResampleWindows {
 public:
  // Sizes: at least 1.
  ResampleWindows(int64_t input_size, int64_t output_size);

  int64_t output_size() const { return static_cast<int64_t>(starts_.size()); }
  // First input of an output, and how many inputs it reads.
  int32_t start(int64_t position) const { return starts_[static_cast<size_t>(position)]; }
  int32_t count(int64_t position) const { return counts_[static_cast<size_t>(position)]; }
  int32_t max_count() const { return max_count_; }
  // The weights of an output; zeros follow up to the next multiple of four.
  const int16_t* high(int64_t position) const { return &high_[Offset(position)]; }
  const int16_t* low(int64_t position) const { return &low_[Offset(position)]; }
  int32_t weight(int64_t position, int32_t index) const {
    return high(position)[index] * (1 << kLowBits) + low(position)[index];
  }

 private:
  size_t Offset(int64_t position) const { return static_cast<size_t>(position) * stride_; }

  std::vector<int32_t> starts_, counts_;
  int32_t max_count_ = 0;
  size_t stride_ = 0;
  std::vector<int16_t> high_, low_;
};

}  // namespace skein::picture
