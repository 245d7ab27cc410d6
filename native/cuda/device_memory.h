// Owned memory: on the device, and pinned on the host. Nothing here is freed while a step runs:
// owners outlive their streams' work.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <utility>

#include "cuda/cuda_check.h"

namespace skein::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) SKEIN_CUDA(cudaMalloc(&data_, bytes));
    held_bytes_ += static_cast<int64_t>(bytes_);
  }
  ~DeviceMemory() {
    if (data_ != nullptr) cudaFree(data_);
    held_bytes_ -= static_cast<int64_t>(bytes_);
  }
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  void* data() const { return data_; }
  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }
  // Of all objects in this process: the workspaces of its one back end.
  static int64_t held_bytes() { return held_bytes_; }

 private:
  static inline std::atomic<int64_t> held_bytes_{0};
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(size_t bytes) : bytes_(bytes) {
    if (bytes > 0) SKEIN_CUDA(cudaMallocHost(&data_, bytes));
  }
  ~PinnedMemory() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  char* data() const { return static_cast<char*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace skein::cuda
