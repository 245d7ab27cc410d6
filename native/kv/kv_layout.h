// Arithmetic of the paged KV cache: bytes and slots. Storage is the back end's; which block is
// whose is the coordinator's business.
#pragma once

#include <cstdint>
#include <span>

#include "ops/backend.h"

namespace skein {

// Keys and values of one block over all layers of the rank.
inline int64_t KvBytesPerBlock(const KvCacheShape& shape, DType type) {
  return 2 * shape.num_layers * shape.block_size * shape.num_kv_heads *
         KvBytesPerHead(shape.head_dim, type);
}

inline int64_t BlocksFor(int64_t tokens, int64_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

// Slot of a position of a sequence: block * block_size + offset.
inline int64_t SlotOf(std::span<const int32_t> block_table, int64_t position, int64_t block_size) {
  return static_cast<int64_t>(block_table[static_cast<size_t>(position / block_size)]) *
             block_size +
         position % block_size;
}

}  // namespace skein
