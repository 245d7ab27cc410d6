#include "cuda/cuda_memory.h"

#include "cuda/device_copy.h"
#include "cuda/kernels/random.h"

namespace skein::cuda {

void CudaMemory::BeginLoad() {
  EndLoad();
  weights_.Reset();
  activations_.Reset();
}

void CudaMemory::EndLoad() {
  upload_.reset();
  stream_.Synchronize();
  staging_.Reset();
}

std::unique_ptr<DeviceTensor> CudaMemory::NewTensor(DType type, int64_t rows, int64_t cols,
                                                    TensorUse use) {
  if (use == TensorUse::kConsumed) return staging_.New(type, rows, cols);
  return std::make_unique<ArenaTensor>(weights_, type, rows, cols);
}

UploadStream& CudaMemory::upload() {
  if (upload_ == nullptr) upload_ = std::make_unique<UploadStream>();
  return *upload_;
}

std::unique_ptr<DeviceTensor> CudaMemory::NewWeight(DType type, int64_t rows, int64_t cols,
                                                    TensorUse use) {
  auto tensor = NewTensor(type, rows, cols, use);
  upload().Clear(tensor->view());
  return tensor;
}

std::unique_ptr<DeviceTensor> CudaMemory::Upload(const Matrix& host) {
  auto tensor = std::make_unique<ArenaTensor>(weights_, host.type, host.rows, host.cols);
  CopyRowsAndWait(tensor->view().data, host);
  return tensor;
}

std::unique_ptr<DeviceTensor> CudaMemory::MakeRandomTensor(DType type, int64_t rows, int64_t cols,
                                                           std::span<const RandomBlock> blocks,
                                                           TensorUse use) {
  auto tensor = NewTensor(type, rows, cols, use);
  const Matrix view = tensor->view();
  SKEIN_CUDA(cudaMemsetAsync(view.data, 0, static_cast<size_t>(rows) * view.RowBytes(),
                             stream_.ForDriver()));
  for (const RandomBlock& block : blocks) FillRandomBlock(block, view, stream_);
  stream_.Synchronize();
  return tensor;
}

std::vector<float> CudaMemory::Read(const Matrix& matrix) const {
  const auto count = static_cast<size_t>(matrix.rows * matrix.cols);
  std::vector<char> bytes(count * SizeOf(matrix.type));
  stream_.Synchronize();
  SKEIN_CUDA(cudaMemcpy2D(bytes.data(), matrix.RowBytes(), matrix.data,
                          static_cast<size_t>(matrix.stride) * SizeOf(matrix.type),
                          matrix.RowBytes(), static_cast<size_t>(matrix.rows),
                          cudaMemcpyDeviceToHost));
  std::vector<float> values(count);
  ConvertElements(bytes.data(), matrix.type, values.data(), DType::kFloat32,
                  matrix.rows * matrix.cols);
  return values;
}

void CudaMemory::AwaitWeightsOf(const RawLinear& raw) {
  if (upload_ == nullptr) return;
  upload_->OrderBefore(stream_);
  // float8 rows that begin between multiples of 16 bytes are copied.
  const bool is_copied = raw.weight.type == DType::kFloat8E4M3 && raw.weight.cols % 16 != 0;
  if (raw.is_awq() || is_copied || !weights_.Contains(raw.weight.data)) upload_->Wait();
}

MemoryUse CudaMemory::use() const {
  MemoryUse use;
  use.weights = static_cast<int64_t>(weights_.held_bytes());
  use.activations = static_cast<int64_t>(activations_.held_bytes());
  use.kv_cache = kv_bytes_;
  use.workspaces = DeviceMemory::held_bytes();
  size_t free_bytes = 0, total_bytes = 0;
  SKEIN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  use.free = static_cast<int64_t>(free_bytes);
  use.total = static_cast<int64_t>(total_bytes);
  use.other = use.total - use.free - use.weights - use.activations - use.kv_cache - use.workspaces;
  return use;
}

}  // namespace skein::cuda
