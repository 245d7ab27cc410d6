// A checksum of bytes by where they stand in a file: the sum over all 32-bit words of the word
// times a key of its place. So it does not matter in which order, and in what pieces, they are
// read. Any change of one word shows, and one of two with near certainty; it is no defence against
// intent.
#pragma once

#include <cstdint>

namespace skein {

// What `bytes` bytes at `offset` of file `file` add to a sum modulo 2^64.
uint64_t ChecksumOf(const void* data, int64_t bytes, int64_t file, int64_t offset);

}  // namespace skein
