#include "model/weight_source.h"

#include <chrono>
#include <cstring>

#include "core/error.h"

namespace skein {
namespace {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

constexpr int64_t kReportIntervalNs = 50'000'000;

template <typename Load>
void ConvertWith(const Load& load, void* to, DType to_type, int64_t count) {
  if (to_type == DType::kFloat32) {
    auto* out = static_cast<float*>(to);
    for (int64_t i = 0; i < count; ++i) out[i] = load(i);
  } else {
    auto* out = static_cast<BFloat16*>(to);
    for (int64_t i = 0; i < count; ++i) out[i] = BFloat16(load(i));
  }
}

}  // namespace

void ConvertElements(const void* from, DType from_type, void* to, DType to_type, int64_t count) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(count) * SizeOf(from_type));
    return;
  }
  SKEIN_CHECK(to_type == DType::kFloat32 || to_type == DType::kBFloat16, "to %s", Name(to_type));
  switch (from_type) {
    case DType::kFloat32: {
      const auto* in = static_cast<const float*>(from);
      return ConvertWith([in](int64_t i) { return in[i]; }, to, to_type, count);
    }
    case DType::kBFloat16: {
      const auto* in = static_cast<const BFloat16*>(from);
      return ConvertWith([in](int64_t i) { return static_cast<float>(in[i]); }, to, to_type, count);
    }
    case DType::kFloat16: {
      const auto* in = static_cast<const uint16_t*>(from);
      return ConvertWith([in](int64_t i) { return HalfToFloat(in[i]); }, to, to_type, count);
    }
    case DType::kInt32:
      break;
  }
  SKEIN_CHECK(false, "from %s to %s", Name(from_type), Name(to_type));
}

LoadProgressMeter::LoadProgressMeter(const WeightSourceOptions& options, int64_t total)
    : callback_(options.progress), cancelled_(options.cancelled), total_(total) {}

void LoadProgressMeter::Add(int64_t bytes) {
  loaded_ += bytes;
  if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
    throw Error("ABORTED", "loading was aborted");
  }
  if (!callback_) return;
  const int64_t now = NowNs();
  if (loaded_ < total_ && now - last_report_ns_ < kReportIntervalNs) return;
  last_report_ns_ = now;
  callback_(loaded_, total_);
}

}  // namespace skein
