#include "cpu/staging_pool.h"

#include <utility>

namespace skein::cpu {

StagingPool::Taken StagingPool::Take(size_t bytes) {
  auto best = kept_.end();
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    if (it->bytes() >= bytes && (best == kept_.end() || it->bytes() < best->bytes())) best = it;
  }
  if (best == kept_.end()) {
    Clear();
    return {AlignedBuffer(bytes), false};
  }
  AlignedBuffer buffer = std::move(*best);
  kept_.erase(best);
  kept_bytes_ -= buffer.bytes();
  return {std::move(buffer), true};
}

void StagingPool::GiveBack(AlignedBuffer buffer) {
  if (!is_open_ || buffer.bytes() > kMaxKeptBytes - kept_bytes_) return;
  kept_bytes_ += buffer.bytes();
  kept_.push_back(std::move(buffer));
}

void StagingPool::Open() {
  Clear();
  is_open_ = true;
}

void StagingPool::Close() {
  Clear();
  is_open_ = false;
}

void StagingPool::Clear() {
  kept_.clear();
  kept_bytes_ = 0;
}

}  // namespace skein::cpu
