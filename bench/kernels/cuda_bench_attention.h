// What benchmarks of attention share: the 38 B model's heads, and operands on the device.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "cuda_bench.h"

namespace skein::cuda {

inline constexpr int kHeadDim = 128;
inline constexpr int kBlockSize = 16;
inline constexpr int kGroup = 5;

template <typename T>
DeviceMemory Upload(const std::vector<T>& values) {
  DeviceMemory memory(values.size() * sizeof(T));
  SKEIN_CUDA(cudaMemcpy(memory.data(), values.data(), memory.bytes(), cudaMemcpyHostToDevice));
  return memory;
}

inline DeviceMemory RandomBFloat16(int64_t count, uint64_t seed, Stream& stream) {
  DeviceMemory memory(static_cast<size_t>(count) * 2);
  FillRandomBFloat16(memory.data(), count, 1.0f, seed, stream);
  return memory;
}

// Every code but NaN, which a cache does not hold, at random, again and again.
inline void FillCodes(const DeviceMemory& memory, uint32_t seed, Stream& stream) {
  std::mt19937 random(seed);
  std::vector<uint8_t> codes(std::min(memory.bytes(), size_t{1} << 20));
  for (uint8_t& code : codes) {
    do {
      code = static_cast<uint8_t>(random());
    } while ((code & 0x7f) == 0x7f);
  }
  SKEIN_CUDA(cudaMemcpyAsync(memory.data(), codes.data(), codes.size(), cudaMemcpyHostToDevice,
                             stream.ForDriver()));
  auto* const bytes = memory.As<uint8_t>();
  for (size_t filled = codes.size(); filled < memory.bytes(); filled *= 2) {
    SKEIN_CUDA(cudaMemcpyAsync(bytes + filled, bytes, std::min(filled, memory.bytes() - filled),
                               cudaMemcpyDeviceToDevice, stream.ForDriver()));
  }
}

}  // namespace skein::cuda
