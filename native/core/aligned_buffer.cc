#include "core/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace skein {
namespace {

// From this size on a buffer is mapped by itself; below, the allocator's pages are shared.
constexpr size_t kMapBytes = size_t{1} << 20;
constexpr size_t kHugePageBytes = size_t{1} << 21;

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kMapBytes) {
    void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data_ = mapped == MAP_FAILED ? nullptr : mapped;
    // Advice only: where it is refused the buffer works with small pages.
    if (data_ != nullptr && bytes >= 2 * kHugePageBytes) madvise(data_, bytes, MADV_HUGEPAGE);
  } else {
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    data_ = std::aligned_alloc(kAlignment, rounded);
    if (data_ != nullptr) std::memset(data_, 0, rounded);
  }
  if (data_ == nullptr) {
    bytes_ = 0;
    throw Error("DEVICE_OUT_OF_MEMORY", Format("cannot allocate %zu bytes of host memory", bytes));
  }
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ == nullptr) return;
  if (bytes_ >= kMapBytes) {
    munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

void AlignedBuffer::Reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  *this = AlignedBuffer();  // Frees first: the peak is the larger of the two, not their sum.
  *this = AlignedBuffer(bytes);
}

}  // namespace skein
