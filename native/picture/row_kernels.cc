#include "picture/row_kernels.h"

#include <algorithm>

namespace skein::picture {
namespace {

uint8_t ToByte(int32_t fixed) {
  return static_cast<uint8_t>(std::clamp(fixed >> kPrecisionBits, 0, 255));
}

void HorizontalRow(const uint8_t* source, const ResampleWindows& windows, uint8_t* target) {
  for (int64_t x = 0; x < windows.output_size(); ++x, target += 3) {
    const uint8_t* pixel = source + int64_t{windows.start(x)} * 3;
    int32_t red = kHalf, green = kHalf, blue = kHalf;
    for (int32_t k = 0; k < windows.count(x); ++k, pixel += 3) {
      const int32_t weight = windows.weight(x, k);
      red += pixel[0] * weight;
      green += pixel[1] * weight;
      blue += pixel[2] * weight;
    }
    target[0] = ToByte(red);
    target[1] = ToByte(green);
    target[2] = ToByte(blue);
  }
}

void Horizontal(const uint8_t* const* sources, const ResampleWindows& windows,
                uint8_t* const* targets) {
  for (int row = 0; row < kRowsAtOnce; ++row) HorizontalRow(sources[row], windows, targets[row]);
}

// Walks whole rows, adding one weighted row after the other, so that the compiler vectorises it.
void Vertical(const uint8_t* const* rows, const ResampleWindows& windows, int64_t position,
              int64_t offset, int64_t num_bytes, uint8_t* target) {
  constexpr int64_t kChunk = 512;
  int32_t sums[kChunk];
  for (int64_t begin = 0; begin < num_bytes; begin += kChunk) {
    const int64_t length = std::min(kChunk, num_bytes - begin);
    std::fill(sums, sums + length, kHalf);
    for (int32_t k = 0; k < windows.count(position); ++k) {
      const int32_t weight = windows.weight(position, k);
      const uint8_t* row = rows[k] + offset + begin;
      for (int64_t i = 0; i < length; ++i) sums[i] += row[i] * weight;
    }
    for (int64_t i = 0; i < length; ++i) target[begin + i] = ToByte(sums[i]);
  }
}

}  // namespace

const RowKernels& PortableRowKernels() {
  static constexpr RowKernels kKernels = {Horizontal, Vertical};
  return kKernels;
}

const RowKernels& BestRowKernels() {
  const RowKernels* avx2 = Avx2RowKernels();
  return avx2 != nullptr ? *avx2 : PortableRowKernels();
}

}  // namespace skein::picture
