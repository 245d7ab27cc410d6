// What dense and AWQ linears share: weights and biases on their way to the device. Copies wait:
// loading, not serving.
#pragma once

#include "cuda/device_arena.h"
#include "ops/backend.h"

namespace skein::cuda {

void CopyToDevice(void* device, const void* host, size_t bytes);

// A matrix (host or device memory) as contiguous bfloat16 in the arena.
void* UploadBFloat16(const Matrix& source, DeviceArena& arena);

// A bias in both types that an output may have; null where there is none.
struct LinearBias {
  float* as_float = nullptr;
  void* as_bfloat16 = nullptr;
  size_t bytes = 0;

  LinearBias(const Matrix& host, DeviceArena& arena);
  const void* For(DType type) const { return type == DType::kFloat32 ? as_float : as_bfloat16; }
};

}  // namespace skein::cuda
