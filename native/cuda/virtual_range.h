// A range of device addresses into which physical memory is mapped piece by piece, through the
// driver's virtual memory management. The only file that calls the driver itself.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace skein::cuda {

struct DriverCalls;

class VirtualRange {
 public:
  // As many addresses as the current device has memory: what is mapped can never be more. Null
  // where the device, its driver or the container around them has no virtual memory management.
  static std::unique_ptr<VirtualRange> Reserve();
  // Unmaps all.
  ~VirtualRange();
  VirtualRange(const VirtualRange&) = delete;
  VirtualRange& operator=(const VirtualRange&) = delete;

  // Maps `bytes`, rounded up to the device's granularity, behind what is mapped. False, with
  // nothing changed, when the device does not have that much.
  bool Grow(size_t bytes);
  // Gives all physical memory back; the addresses stay reserved. Nothing may be using it.
  void Unmap();

  char* data() const { return data_; }
  size_t mapped_bytes() const { return mapped_; }

 private:
  struct Piece {
    unsigned long long handle;
    size_t bytes;
  };

  explicit VirtualRange(const DriverCalls& driver) : driver_(driver) {}
  bool Open();

  const DriverCalls& driver_;
  int device_ = 0;
  int handle_type_ = 0;
  bool is_rdma_capable_ = false;
  size_t granularity_ = 0;
  char* data_ = nullptr;
  size_t reserved_ = 0, mapped_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace skein::cuda
