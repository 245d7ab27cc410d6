// Tensor maps: what Hopper's copy engine knows of a tensor in the device's memory.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda/cuda_check.h"
#include "cuda/driver_call.h"

namespace skein::cuda {

// A map of `data` for the copy engine: boxes of it, zeros outside. sizes and box from the innermost
// dimension; strides, in bytes, of the others.
template <int kDimensions>
CUtensorMap MakeTensorMap(const void* data, CUtensorMapDataType type,
                          const int64_t (&sizes)[kDimensions],
                          const int64_t (&strides)[kDimensions - 1], const int (&box)[kDimensions],
                          CUtensorMapSwizzle swizzle) {
  static const auto kEncode = [] {
    decltype(&cuTensorMapEncodeTiled) call = nullptr;
    SKEIN_CHECK(FindDriverCall("cuTensorMapEncodeTiled", &call), "no cuTensorMapEncodeTiled");
    return call;
  }();
  cuuint64_t all_sizes[kDimensions], all_strides[kDimensions];
  cuuint32_t all_box[kDimensions], steps[kDimensions];
  for (int i = 0; i < kDimensions; ++i) {
    all_sizes[i] = static_cast<cuuint64_t>(sizes[i]);
    if (i > 0) all_strides[i - 1] = static_cast<cuuint64_t>(strides[i - 1]);
    all_box[i] = static_cast<cuuint32_t>(box[i]);
    steps[i] = 1;
  }
  CUtensorMap map;
  const CUresult status =
      kEncode(&map, type, kDimensions, const_cast<void*>(data), all_sizes, all_strides, all_box,
              steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  SKEIN_CHECK(status == CUDA_SUCCESS, "cuTensorMapEncodeTiled: %d for %lld x %lld",
              static_cast<int>(status), static_cast<long long>(sizes[1]),
              static_cast<long long>(sizes[0]));
  return map;
}

}  // namespace skein::cuda
