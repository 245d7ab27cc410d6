// What the plans of kernels depend on besides the shapes.
#pragma once

namespace skein::cuda {

struct DeviceTraits {
  int multiprocessors;
  int shared_bytes;     // that a block may have
  bool has_warpgroups;  // Hopper, and nothing else, has their products
};
// Of the current device.
DeviceTraits CurrentDeviceTraits();

}  // namespace skein::cuda
