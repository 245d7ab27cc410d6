#include "model/weight_source.h"

#include <chrono>

#include "core/error.h"

namespace skein {
namespace {

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

constexpr int64_t kReportIntervalNs = 50'000'000;

}  // namespace

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
