// A row stays in registers between its largest magnitude and its codes. Few rows that are wide have
// a cluster of blocks each, so that a row's columns are read at once; many rows keep the GPU busy
// as they are, and have a block each with four times eight columns a thread: fewer warps a row, so
// that more rows are under way.
#include "cuda/cuda_check.h"
#include "cuda/kernels/float8.h"
#include "cuda/kernels/float8_parts.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kMostBlocks = 8;  // of a cluster, that any GPU takes
// Beyond so many threads a row is better off with more blocks, up to so many rows. An H100 takes
// for 16, 32 and 64 rows of 27,648 columns 2.9, 3.7 and 6.1 us with eight blocks each, and 3.3, 3.6
// and 3.9 with one.
constexpr int64_t kManyThreads = 640;
constexpr int64_t kFewRows = 32;
constexpr int kManyVectors = 4;

// Writes to the same place in block `rank` of the cluster.
__device__ __forceinline__ void StoreAt([[maybe_unused]] float* place, [[maybe_unused]] float value,
                                        [[maybe_unused]] uint32_t rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
      "st.shared::cluster.f32 [there], %2;\n}\n" ::"r"(SharedAddress(place)),
      "r"(rank), "f"(value)
      : "memory");
#endif
}
// All threads of the cluster's blocks; what they wrote to each other is seen.
__device__ __forceinline__ void MeetCluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n" ::
                   : "memory");
#endif
}

// Thread t of block b has columns 8 ((v kBlocks + b) threads + t) .. + 7 for v < kVectors.
template <int kBlocks, int kVectors>
__global__ void __launch_bounds__(kMostThreads)
    QuantizeKernel(const __nv_bfloat16* x, int64_t x_stride, int64_t cols, float given,
                   uint8_t* codes, int64_t codes_stride, float* scales) {
  __shared__ float parts[32];
  __shared__ float largest_of[kBlocks];
  LetNextStart();
  // A block may be written to when it has begun.
  if constexpr (kBlocks > 1) MeetCluster();
  WaitForPrevious();
  const int64_t row = blockIdx.x / kBlocks;
  const uint32_t rank = blockIdx.x % kBlocks;
  const auto col_of = [&](int v) {
    return ((static_cast<int64_t>(v) * kBlocks + rank) * blockDim.x + threadIdx.x) * 8;
  };
  Eight held[kVectors];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    held[v] = col_of(v) < cols ? LoadEight(x + row * x_stride + col_of(v)) : Eight{};
  }
  float values[8];
  float scale = given;
  if (given == 0.0f) {
    float largest = 0.0f;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      Unpack(held[v], values);
      largest = LargestOf(values, largest);
    }
    largest = BlockLargest(largest, parts);
    if constexpr (kBlocks > 1) {
      if (threadIdx.x < kBlocks) StoreAt(largest_of + rank, largest, threadIdx.x);
      MeetCluster();
#pragma unroll
      for (int i = 0; i < kBlocks; ++i) largest = fmaxf(largest, largest_of[i]);
    }
    scale = DeviceFloat8Scale(largest);
  }
  const float inverse = __fdiv_rn(1.0f, scale);
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    // Where a row of codes ends later, zeros.
    if (col_of(v) >= codes_stride) break;
    Unpack(held[v], values);
    *reinterpret_cast<uint2*>(codes + row * codes_stride + col_of(v)) = ToFloat8(values, inverse);
  }
  if (rank == 0 && threadIdx.x == 0) scales[row] = scale;
}

// Any width and alignment, a value at a time.
__global__ void __launch_bounds__(kMostThreads)
    AnyWidthQuantizeKernel(const __nv_bfloat16* x, int64_t x_stride, int64_t cols, float given,
                           uint8_t* codes, int64_t codes_stride, float* scales) {
  __shared__ float parts[32];
  LetNextStart();
  WaitForPrevious();
  const int64_t row = blockIdx.x;
  const __nv_bfloat16* in = x + row * x_stride;
  float scale = given;
  if (given == 0.0f) {
    float largest = 0.0f;
    for (int64_t col = threadIdx.x; col < cols; col += blockDim.x) {
      largest = fmaxf(largest, fabsf(__bfloat162float(in[col])));
    }
    scale = DeviceFloat8Scale(BlockLargest(largest, parts));
  }
  const float inverse = __fdiv_rn(1.0f, scale);
  for (int64_t col = threadIdx.x; col < codes_stride; col += blockDim.x) {
    codes[row * codes_stride + col] =
        col < cols ? ToFloat8(__bfloat162float(in[col]), inverse) : uint8_t{0};
  }
  if (threadIdx.x == 0) scales[row] = scale;
}

}  // namespace

void QuantizeRows(const __nv_bfloat16* x, int64_t x_stride, int64_t rows, int64_t cols, float scale,
                  uint8_t* codes, float* scales, Stream& stream) {
  if (rows == 0) return;
  const int64_t stride = Float8Stride(cols);
  const bool is_vector = IsVector(cols, {x_stride}) && reinterpret_cast<uint64_t>(x) % 16 == 0;
  const int64_t eights = stride / 8;
  const bool is_few = rows <= kFewRows;
  int64_t blocks = 1;
  while (is_few && blocks < kMostBlocks && eights > blocks * kManyThreads) blocks *= 2;
  const int64_t parts = is_few ? blocks : kManyVectors;
  const int64_t threads = (eights + parts * 32 - 1) / (parts * 32) * 32;
  if (!is_vector || threads > kMostThreads) {
    return LaunchOverlapped(AnyWidthQuantizeKernel, dim3(Blocks(rows)), dim3(kMostThreads), 0,
                            stream, x, x_stride, cols, scale, codes, stride, scales);
  }
  const auto launch = [&](auto kernel) {
    LaunchOverlappedClusters(kernel, static_cast<int>(blocks), dim3(Blocks(rows * blocks)),
                             dim3(Blocks(threads)), 0, stream, x, x_stride, cols, scale, codes,
                             stride, scales);
  };
  if (!is_few) return launch(QuantizeKernel<1, kManyVectors>);
  switch (blocks) {
    case 1:
      return launch(QuantizeKernel<1, 1>);
    case 2:
      return launch(QuantizeKernel<2, 1>);
    case 4:
      return launch(QuantizeKernel<4, 1>);
    default:
      return launch(QuantizeKernel<kMostBlocks, 1>);
  }
}

}  // namespace skein::cuda
