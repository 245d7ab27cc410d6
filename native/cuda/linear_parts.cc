#include "cuda/linear_parts.h"

#include <vector>

namespace skein::cuda {

void CopyToDevice(void* device, const void* host, size_t bytes) {
  if (bytes > 0) SKEIN_CUDA(cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice));
}

void* UploadBFloat16(const Matrix& source, DeviceArena& arena) {
  // Loaded where it is to stay.
  if (source.type == DType::kBFloat16 && source.stride == source.cols &&
      arena.Contains(source.data)) {
    return source.data;
  }
  const auto count = static_cast<size_t>(source.rows * source.cols);
  void* memory = arena.Allocate(count * 2);
  if (source.type == DType::kBFloat16) {
    SKEIN_CUDA(cudaMemcpy2D(memory, source.RowBytes(), source.data,
                            static_cast<size_t>(source.stride) * 2, source.RowBytes(),
                            static_cast<size_t>(source.rows), cudaMemcpyDefault));
    return memory;
  }
  SKEIN_CHECK(source.type == DType::kFloat32, "a weight of %s", Name(source.type));
  std::vector<BFloat16> rounded(count);
  for (int64_t row = 0; row < source.rows; ++row) {
    const float* values = source.As<const float>() + row * source.stride;
    for (int64_t col = 0; col < source.cols; ++col) {
      rounded[static_cast<size_t>(row * source.cols + col)] = BFloat16(values[col]);
    }
  }
  CopyToDevice(memory, rounded.data(), count * 2);
  return memory;
}

DeviceView::DeviceView(const Matrix& source) : data_(source.data) {
  cudaPointerAttributes attributes{};
  SKEIN_CUDA(cudaPointerGetAttributes(&attributes, source.data));
  if (attributes.type == cudaMemoryTypeDevice && source.stride == source.cols) return;
  copy_ = DeviceMemory(static_cast<size_t>(source.rows) * source.RowBytes());
  data_ = copy_.data();
  SKEIN_CUDA(cudaMemcpy2D(data_, source.RowBytes(), source.data,
                          static_cast<size_t>(source.stride) * SizeOf(source.type),
                          source.RowBytes(), static_cast<size_t>(source.rows), cudaMemcpyDefault));
}

LinearBias::LinearBias(const Matrix& host, DeviceArena& arena) {
  if (host.data == nullptr) return;
  const auto count = static_cast<size_t>(host.cols);
  as_float = arena.New<float>(count);
  CopyToDevice(as_float, host.data, count * sizeof(float));
  as_bfloat16 = UploadBFloat16(host, arena);
  bytes = count * (sizeof(float) + 2);
}

}  // namespace skein::cuda
