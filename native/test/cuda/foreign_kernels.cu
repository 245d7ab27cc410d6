#include <cstdint>

#include "cuda/cuda_check.h"
#include "test/cuda/foreign_kernels.h"

namespace skein::test {
namespace {

// Few enough that they find room beside a kernel that fills the device.
constexpr unsigned kBlocks = 132, kThreads = 128;

__device__ __forceinline__ uint32_t Load(const uint32_t* word) {
  return *static_cast<const volatile uint32_t*>(word);
}

__global__ void CountKernel(const uint32_t* data, const uint32_t* expected, size_t words,
                            unsigned long long* differences) {
  unsigned long long found = 0;
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < words;
       i += size_t{kBlocks} * kThreads) {
    found += Load(data + i) != Load(expected + i);
  }
  if (found > 0) atomicAdd(differences, found);
}

__global__ void CopyKernel(uint32_t* to, const uint32_t* from, size_t words) {
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < words;
       i += size_t{kBlocks} * kThreads) {
    to[i] = Load(from + i);
  }
}

__global__ void CopyLateKernel(uint32_t* to, const uint32_t* from, size_t words, int microseconds) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
  uint64_t start, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - start < static_cast<uint64_t>(microseconds) * 1000);
  for (size_t i = blockIdx.x * size_t{kThreads} + threadIdx.x; i < words;
       i += size_t{kBlocks} * kThreads) {
    to[i] = Load(from + i);
  }
}

template <typename... Parameters, typename... Arguments>
void Launch(bool programmatic, void (*kernel)(Parameters...), cudaStream_t stream,
            Arguments... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  int device = 0, major = 0;
  SKEIN_CUDA(cudaGetDevice(&device));
  SKEIN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(kBlocks);
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = programmatic && major >= 9 ? 1 : 0;
  SKEIN_CUDA(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

const uint32_t* Words(const void* data) { return static_cast<const uint32_t*>(data); }

}  // namespace

void CountDifferences(const void* data, const void* expected, size_t bytes,
                      unsigned long long* differences, cudaStream_t stream) {
  Launch(true, CountKernel, stream, Words(data), Words(expected), bytes / 4, differences);
}

void CopyAtOnce(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  Launch(true, CopyKernel, stream, static_cast<uint32_t*>(to), Words(from), bytes / 4);
}

void CopyLate(void* to, const void* from, size_t bytes, int microseconds, cudaStream_t stream) {
  Launch(false, CopyLateKernel, stream, static_cast<uint32_t*>(to), Words(from), bytes / 4,
         microseconds);
}

}  // namespace skein::test
