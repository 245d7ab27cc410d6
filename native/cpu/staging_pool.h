// Host memory of weights that are read, packed anew and dropped: kept for the next ones of a load.
// The kernel clears the pages of fresh memory, which takes longer than reading the weights into it.
#pragma once

#include <cstddef>
#include <vector>

#include "core/aligned_buffer.h"

namespace skein::cpu {

// One thread at a time.
class StagingPool {
 public:
  // What lies unused is never more than this.
  static constexpr size_t kMaxKeptBytes = size_t{256} << 20;

  struct Taken {
    AlignedBuffer buffer;
    // Else zeros.
    bool is_used = false;
  };
  // At least `bytes`: the smallest kept buffer that is large enough. Where there is none, what is
  // kept is given back before a larger one is made, so that the two are never held together.
  Taken Take(size_t bytes);
  // Kept where there is room for it.
  void GiveBack(AlignedBuffer buffer);
  // A load begins. What an interrupted one left is given back.
  void Open();
  // It has ended: what is kept is given back, and nothing is kept from now on.
  void Close();

  size_t kept_bytes() const { return kept_bytes_; }

 private:
  void Clear();

  std::vector<AlignedBuffer> kept_;
  size_t kept_bytes_ = 0;
  bool is_open_ = false;
};

}  // namespace skein::cpu
