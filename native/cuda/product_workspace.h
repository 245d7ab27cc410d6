// What all products of a back end share: what they know of the device, and room for partial sums:
// enough for any wide product, and for what else is reserved.
#pragma once

#include "cuda/device_memory.h"
#include "cuda/kernels/wide.h"

namespace skein::cuda {

class ProductWorkspace {
 public:
  // deterministic: the bits of a row depend on the row and the weights only, never on how many rows
  // there are.
  explicit ProductWorkspace(bool deterministic)
      : deterministic_(deterministic), device_(CurrentDeviceTraits()) {
    ReserveWide();
  }

  bool deterministic() const { return deterministic_; }
  const DeviceTraits& device() const { return device_; }

  // Room for so many bytes of partial sums; while nothing runs. True where memory moved: graphs
  // that were recorded refer to it.
  bool Reserve(size_t bytes) {
    if (partial_.bytes() >= bytes) return false;
    partial_ = DeviceMemory(bytes);
    return true;
  }
  // Room for any wide product.
  bool ReserveWide() { return Reserve(WideMostPartialBytes(device_)); }
  float* partial() const { return partial_.As<float>(); }
  size_t partial_bytes() const { return partial_.bytes(); }

 private:
  const bool deterministic_;
  const DeviceTraits device_;
  DeviceMemory partial_;
};

}  // namespace skein::cuda
