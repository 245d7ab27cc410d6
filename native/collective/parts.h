// How a vector is cut among the ranks that each reduce a part of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace skein {

// Equal parts but for the last ones, which may be shorter or empty. They begin at multiples of 64
// elements, so that no two ranks write one cache line.
class Parts {
 public:
  Parts(int64_t count, int world_size, size_t element_bytes)
      : count_(count),
        part_(((count + world_size - 1) / world_size + kAlignment - 1) / kAlignment * kAlignment),
        element_bytes_(element_bytes) {}

  int64_t Begin(int rank) const { return std::min(count_, rank * part_); }
  int64_t Count(int rank) const { return Begin(rank + 1) - Begin(rank); }
  size_t ByteBegin(int rank) const { return static_cast<size_t>(Begin(rank)) * element_bytes_; }
  size_t Bytes(int rank) const { return static_cast<size_t>(Count(rank)) * element_bytes_; }

 private:
  static constexpr int64_t kAlignment = 64;

  int64_t count_;
  int64_t part_;
  size_t element_bytes_;
};

}  // namespace skein
