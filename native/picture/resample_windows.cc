#include "picture/resample_windows.h"

#include <algorithm>
#include <cmath>

namespace skein::picture {
namespace {

constexpr double kSupport = 2;

// Keys' cubic kernel with a = -0.5, in Pillow's order of operations.
double BicubicWeight(double x) {
  constexpr double a = -0.5;
  const double t = std::fabs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

}  // namespace

// When shrinking, kernel and support are stretched by the scale (antialiasing); weights sum to one
// before they are rounded.
ResampleWindows::ResampleWindows(int64_t input_size, int64_t output_size) {
  const double scale = static_cast<double>(input_size) / static_cast<double>(output_size);
  const double stretch = std::max(scale, 1.0);
  const double support = kSupport * stretch;
  const double inverse_stretch = 1.0 / stretch;
  std::vector<double> exact(static_cast<size_t>(std::ceil(support)) * 2 + 1);
  stride_ = (exact.size() + 3) / 4 * 4;
  starts_.reserve(static_cast<size_t>(output_size));
  counts_.reserve(static_cast<size_t>(output_size));
  high_.assign(static_cast<size_t>(output_size) * stride_, 0);
  low_.assign(high_.size(), 0);
  for (int64_t position = 0; position < output_size; ++position) {
    const double center = (static_cast<double>(position) + 0.5) * scale;
    const auto start = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto end = std::min(static_cast<int64_t>(center + support + 0.5), input_size);
    const auto count = static_cast<size_t>(end - start);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      exact[i] = BicubicWeight(
          (static_cast<double>(i) + static_cast<double>(start) - center + 0.5) * inverse_stretch);
      sum += exact[i];
    }
    for (size_t i = 0; i < count; ++i) {
      const double weight = sum == 0 ? exact[i] : exact[i] / sum;
      const auto fixed =
          static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecisionBits));
      high_[Offset(position) + i] = static_cast<int16_t>(fixed >> kLowBits);
      low_[Offset(position) + i] = static_cast<int16_t>(fixed & ((1 << kLowBits) - 1));
    }
    starts_.push_back(static_cast<int32_t>(start));
    counts_.push_back(static_cast<int32_t>(count));
    max_count_ = std::max(max_count_, counts_.back());
  }
}

}  // namespace skein::picture
