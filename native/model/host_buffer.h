// Page-aligned, zero-filled host memory that goes back to the system at once when freed, so that a
// loader's staging memory does not linger in the heap. Owns its pages; knows nothing of what is in
// them.
#pragma once

#include <cstddef>

namespace skein {

class HostBuffer {
 public:
  HostBuffer() = default;
  // Throws DEVICE_OUT_OF_MEMORY when the system refuses.
  explicit HostBuffer(size_t bytes);
  HostBuffer(HostBuffer&& other) noexcept;
  HostBuffer& operator=(HostBuffer&& other) noexcept;
  ~HostBuffer();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace skein
