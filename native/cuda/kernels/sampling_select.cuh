// The highest of many distinct integers, by one thread block: a bound for them, digit by digit, and
// their order.
#pragma once

#include <cstdint>

#include "cuda/kernels/sampling.h"
#include "cuda/kernels/sampling_math.cuh"
#include "cuda/kernels/sampling_rows.cuh"

namespace skein::cuda {

// Of the block.
constexpr int kFinishThreads = 512;
// Tokens that are sorted at once; rarely more come near the best K.
constexpr int kSortCapacity = 2048;
static_assert(kSortCapacity >= kMaxRowCandidates);
constexpr int kDigitBits = 8;
constexpr int kNumDigits = 1 << kDigitBits;
// Lanes of a warp count the same digit most of the time: copies keep them apart.
constexpr int kHistogramCopies = 8;
// Values that a thread loads before it uses the first.
constexpr int kUnroll = 4;

// What a block that looks for candidates shares.
struct SelectionMemory {
  alignas(16) uint32_t histogram[kNumDigits * kHistogramCopies];
  uint32_t totals[kNumDigits];
  uint64_t places[kSortCapacity];
  int32_t tiles[kMaxRowCandidates];
  int32_t count;
  int32_t digit;
  int32_t remaining;
  bool is_exact;
};

// A bound that exactly the `wanted` highest of get(0), ..., get(count - 1) reach: digit by digit
// from the top, until a digit's tokens are wanted all. Numbers above 0 are distinct, and there are
// at least `wanted` of them. All threads of the block; the result in all.
template <typename Get>
__device__ uint64_t LowestWanted(int32_t count, int32_t wanted, const Get& get,
                                 SelectionMemory& memory) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  uint64_t prefix = 0, mask = 0;
  int32_t remaining = wanted;
  for (int shift = 32 + kPlaceBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (int i = thread; i < kNumDigits * kHistogramCopies; i += kFinishThreads) {
      memory.histogram[i] = 0;
    }
    __syncthreads();
    for (int32_t base = thread; base < count; base += kUnroll * kFinishThreads) {
      uint64_t place[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int32_t i = base + u * kFinishThreads;
        place[u] = i < count ? get(i) : 0;
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (base + u * kFinishThreads >= count || (place[u] & mask) != prefix) continue;
        const auto digit = static_cast<int32_t>((place[u] >> shift) & (kNumDigits - 1));
        atomicAdd(&memory.histogram[digit * kHistogramCopies + thread % kHistogramCopies], 1u);
      }
    }
    __syncthreads();
    if (thread < kNumDigits) {
      uint32_t total = 0;
      for (int copy = 0; copy < kHistogramCopies; ++copy) {
        total += memory.histogram[thread * kHistogramCopies + copy];
      }
      memory.totals[thread] = total;
    }
    __syncthreads();
    if (thread < 32) {
      // A lane looks at eight digits, the highest lane 0.
      constexpr int kPerLane = kNumDigits / 32;
      int32_t own[kPerLane], sum = 0;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        own[i] = static_cast<int32_t>(memory.totals[kNumDigits - 1 - (thread * kPerLane + i)]);
        sum += own[i];
      }
      int32_t inclusive = sum;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const int32_t other = __shfl_up_sync(kAllLanes, inclusive, offset);
        if (thread >= offset) inclusive += other;
      }
      int32_t above = inclusive - sum;
      // True of one digit of one lane.
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        if (above < remaining && remaining <= above + own[i]) {
          memory.digit = kNumDigits - 1 - (thread * kPerLane + i);
          memory.remaining = remaining - above;
          memory.is_exact = own[i] == remaining - above;
        }
        above += own[i];
      }
    }
    __syncthreads();
    prefix |= static_cast<uint64_t>(memory.digit) << shift;
    mask |= static_cast<uint64_t>(kNumDigits - 1) << shift;
    remaining = memory.remaining;
    if (memory.is_exact) break;
  }
  return prefix;
}

// Puts places[0, count) in descending order; count up to kSortCapacity. All threads of the block.
__device__ inline void SortDescending(uint64_t* places, int32_t count) {
  int32_t size = 1;
  while (size < count) size *= 2;
  for (int32_t i = count + static_cast<int32_t>(threadIdx.x); i < size; i += kFinishThreads) {
    places[i] = 0;
  }
  __syncthreads();
  for (int32_t run = 2; run <= size; run *= 2) {
    for (int32_t distance = run / 2; distance > 0; distance /= 2) {
      for (int32_t pair = static_cast<int32_t>(threadIdx.x); pair < size / 2;
           pair += kFinishThreads) {
        const int32_t low = pair / distance * 2 * distance + pair % distance;
        const int32_t high = low + distance;
        const uint64_t a = places[low], b = places[high];
        if ((a < b) == ((low & run) == 0)) {
          places[low] = b;
          places[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

}  // namespace skein::cuda
