// Compiled as sampling.cu is, without fused multiply-add. Counts and masses are integers: they may
// be added in any order, by any number of blocks and ranks.
#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/sampling_cut.h"
#include "cuda/kernels/sampling_rows.cuh"

namespace skein::cuda {
namespace {

constexpr int kCountThreads = 512;
constexpr int kLogitsPerThread = 8;
constexpr int kLogitsPerBlock = kCountThreads * kLogitsPerThread;
// Digits that a warp adds up before it adds to the block's histogram. The first digits are few, and
// additions to one place wait for each other.
constexpr int kDigitsAtOnce = 3;
constexpr int kFindThreads = 512;
constexpr int kDigitsPerThread = kCutDigits / kFindThreads;

constexpr int kCutPlaceBits = kCutDigitBits * kCutPasses - 32;
__device__ __forceinline__ uint64_t CutPlaceOf(float logit, int32_t id) {
  constexpr uint32_t kLast = (1u << kCutPlaceBits) - 1;
  return (static_cast<uint64_t>(OrderKey(logit)) << kCutPlaceBits) |
         (kLast - static_cast<uint32_t>(id));
}

// All lanes of the warp; those that count add their token.
__device__ __forceinline__ void AddToken(bool counts, uint32_t digit, unsigned long long mass,
                                         CutHistogram& histogram) {
  // A mass is at most 2^42: 32 halves of 21 bits fit an integer.
  constexpr int kHalfBits = 21;
  constexpr uint32_t kHalfMask = (1u << kHalfBits) - 1;
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < kDigitsAtOnce; ++i) {
    const unsigned waiting = __ballot_sync(kAllLanes, counts);
    if (waiting == 0) return;
    const int first = __ffs(static_cast<int>(waiting)) - 1;
    const uint32_t shared_digit = __shfl_sync(kAllLanes, digit, first);
    const bool is_added = counts && digit == shared_digit;
    const unsigned added = __ballot_sync(kAllLanes, is_added);
    const uint32_t low =
        __reduce_add_sync(kAllLanes, is_added ? static_cast<uint32_t>(mass) & kHalfMask : 0u);
    const uint32_t high =
        __reduce_add_sync(kAllLanes, is_added ? static_cast<uint32_t>(mass >> kHalfBits) : 0u);
    if (lane == first) {
      atomicAdd(&histogram.counts[digit], static_cast<uint32_t>(__popc(added)));
      atomicAdd(&histogram.masses[digit],
                (static_cast<unsigned long long>(high) << kHalfBits) + low);
    }
    counts = counts && !is_added;
  }
  if (!counts) return;
  atomicAdd(&histogram.counts[digit], 1u);
  atomicAdd(&histogram.masses[digit], mass);
}

// Block (row, part of the vocabulary).
__global__ void __launch_bounds__(kCountThreads) CountKernel(const CutStep step) {
  __shared__ CutHistogram histogram;
  LetNextStart();
  WaitForPrevious();
  const Cut cut = step.cuts[blockIdx.x];
  if (cut.is_found) return;
  const CutRow row = step.rows[blockIdx.x];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  for (int i = thread; i < kCutDigits; i += kCountThreads) {
    histogram.counts[i] = 0;
    histogram.masses[i] = 0;
  }
  __syncthreads();
  const float* values = step.logits + row.row * step.stride;
  const int32_t first = static_cast<int32_t>(blockIdx.y) * kLogitsPerBlock + thread;
  float loaded[kLogitsPerThread];
#pragma unroll
  for (int i = 0; i < kLogitsPerThread; ++i) {
    const int32_t index = first + i * kCountThreads;
    loaded[i] = index < step.count ? values[index] : 0.0f;
  }
#pragma unroll
  for (int i = 0; i < kLogitsPerThread; ++i) {
    const int32_t index = first + i * kCountThreads;
    const uint64_t place = CutPlaceOf(loaded[i], step.first_id + index);
    const int above = cut.shift + kCutDigitBits;
    const bool counts = index < step.count && place >> above == cut.prefix >> above;
    const auto digit = static_cast<uint32_t>(place >> cut.shift) & (kCutDigits - 1);
    unsigned long long mass = 0;
    if (counts && row.top_p < 1) {
      mass = MassOf((loaded[i] - row.max_logit) * row.inverse_temperature);
    }
    AddToken(counts, digit, mass, histogram);
  }
  __syncthreads();
  CutHistogram& out = step.histograms[blockIdx.x];
  for (int i = thread; i < kCutDigits; i += kCountThreads) {
    if (histogram.counts[i] == 0) continue;
    atomicAdd(&out.counts[i], histogram.counts[i]);
    if (histogram.masses[i] != 0) atomicAdd(&out.masses[i], histogram.masses[i]);
  }
}

// Whether so many of the best tokens are enough.
__device__ __forceinline__ bool Suffices(const CutRow& row, const Cut& cut, int64_t count,
                                         unsigned long long mass) {
  // The best token always stays.
  if (count == 0) return false;
  return cut.is_by_mass ? static_cast<double>(mass) >= cut.wanted_mass : count >= row.top_k;
}

// Where the cut lies in a digit whose tokens begin after `count` and end at `end_count`.
__device__ Cut Narrowed(const CutRow& row, const Cut& cut, int32_t digit, int64_t count,
                        unsigned long long mass, int64_t end_count, unsigned long long end_mass) {
  Cut next = cut;
  next.prefix |= static_cast<uint64_t>(digit) << cut.shift;
  if (end_count - count > 1) {
    next.count_above = count;
    next.mass_above = mass;
    next.shift = cut.shift - kCutDigitBits;
  } else if (!cut.is_by_mass && row.top_p < 1) {
    next = Cut{};
    next.wanted_mass = static_cast<double>(row.top_p) * static_cast<double>(end_mass);
    next.shift = kFirstCutShift;
    next.is_by_mass = true;
  } else {
    next.is_found = true;
  }
  return next;
}

// One block a row. Thread 0 has the highest digits.
__global__ void __launch_bounds__(kFindThreads) FindKernel(const CutStep step) {
  __shared__ long long warp_counts[kFindThreads / 32];
  __shared__ unsigned long long warp_masses[kFindThreads / 32];
  LetNextStart();
  WaitForPrevious();
  const Cut cut = step.cuts[blockIdx.x];
  if (cut.is_found) return;
  const CutRow row = step.rows[blockIdx.x];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const int32_t first_digit = kCutDigits - 1 - thread * kDigitsPerThread;
  long long counts[kDigitsPerThread] = {};
  unsigned long long masses[kDigitsPerThread] = {};
  for (int32_t rank = 0; rank < step.world_size; ++rank) {
    const CutHistogram& histogram = step.rank_histograms[rank * step.num_rows + blockIdx.x];
#pragma unroll
    for (int i = 0; i < kDigitsPerThread; ++i) {
      counts[i] += histogram.counts[first_digit - i];
      masses[i] += histogram.masses[first_digit - i];
    }
  }
  CutHistogram& own = step.histograms[blockIdx.x];
  long long count = 0;
  unsigned long long mass = 0;
#pragma unroll
  for (int i = 0; i < kDigitsPerThread; ++i) {
    own.counts[first_digit - i] = 0;
    own.masses[first_digit - i] = 0;
    count += counts[i];
    mass += masses[i];
  }
  const long long own_count = count;
  const unsigned long long own_mass = mass;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const long long other_count = __shfl_up_sync(kAllLanes, count, offset);
    const unsigned long long other_mass = __shfl_up_sync(kAllLanes, mass, offset);
    if (thread % 32 < offset) continue;
    count += other_count;
    mass += other_mass;
  }
  if (thread % 32 == 31) {
    warp_counts[thread / 32] = count;
    warp_masses[thread / 32] = mass;
  }
  __syncthreads();
  count += cut.count_above - own_count;
  mass += cut.mass_above - own_mass;
  for (int32_t warp = 0; warp < thread / 32; ++warp) {
    count += warp_counts[warp];
    mass += warp_masses[warp];
  }
  // True of one digit of one thread.
#pragma unroll
  for (int i = 0; i < kDigitsPerThread; ++i) {
    const long long end_count = count + counts[i];
    const unsigned long long end_mass = mass + masses[i];
    if (!Suffices(row, cut, count, mass) && Suffices(row, cut, end_count, end_mass)) {
      step.cuts[blockIdx.x] = Narrowed(row, cut, first_digit - i, count, mass, end_count, end_mass);
    }
    count = end_count;
    mass = end_mass;
  }
}

// Block (row, part of the vocabulary).
__global__ void __launch_bounds__(kExamineThreads) ChooseKernel(const CutStep step) {
  __shared__ BestToken warp_best[kExamineThreads / 32];
  LetNextStart();
  WaitForPrevious();
  const CutRow row = step.rows[blockIdx.x];
  const uint64_t lowest = step.cuts[blockIdx.x].prefix;
  const float* values = step.logits + row.row * step.stride;
  const int32_t first_group = step.first_id / kTileTokens * kGroupsPerTile +
                              static_cast<int32_t>(blockIdx.y) * kGroupsPerChunk;
  BestToken best = NoToken();
#pragma unroll
  for (int pass = 0; pass < kGroupsPerThread; ++pass) {
    const int32_t group = first_group + pass * kExamineThreads + static_cast<int32_t>(threadIdx.x);
    const int32_t first_index = group * 4 - step.first_id;
    float logits[4];
    LoadFour(values, first_index, step.count, logits);
    bool is_kept[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t index = first_index + i;
      is_kept[i] =
          index >= 0 && index < step.count && CutPlaceOf(logits[i], group * 4 + i) >= lowest;
      if (is_kept[i] && row.min_p > 0 && logits[i] != row.max_logit) {
        const float d = (logits[i] - row.max_logit) * row.inverse_temperature;
        is_kept[i] = !(ExpNonPositive(d) < row.min_p);
      }
    }
    if (!(is_kept[0] || is_kept[1] || is_kept[2] || is_kept[3])) continue;
    uint32_t random[4] = {static_cast<uint32_t>(group), row.choice_index,
                          static_cast<uint32_t>(row.position),
                          static_cast<uint32_t>(row.position >> 32)};
    Philox(row.seed, random);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!is_kept[i]) continue;
      const double value =
          logits[i] * static_cast<double>(row.inverse_temperature) + GumbelOf(random[i]);
      TakeHigher(best, {value, logits[i], group * 4 + i});
    }
  }
  TakeHighestOfWarp(best);
  if (threadIdx.x % 32 == 0) warp_best[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kExamineThreads / 32; ++warp) TakeHigher(best, warp_best[warp]);
  step.parts[static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y] = best;
}

// A warp a row.
__global__ void __launch_bounds__(32) BestOfPartsKernel(const CutStep step, int32_t num_chunks) {
  LetNextStart();
  WaitForPrevious();
  const BestToken best =
      HighestOfParts(step.parts + static_cast<int64_t>(blockIdx.x) * num_chunks, num_chunks);
  if (threadIdx.x == 0) step.chosen[blockIdx.x] = best;
}

unsigned Rows(const CutStep& step) { return static_cast<unsigned>(step.num_rows); }

}  // namespace

void CountDigits(const CutStep& step, Stream& stream) {
  if (step.num_rows == 0 || step.count == 0) return;
  const int parts = (step.count + kLogitsPerBlock - 1) / kLogitsPerBlock;
  LaunchOverlapped(CountKernel, dim3(Rows(step), static_cast<unsigned>(parts)), dim3(kCountThreads),
                   0, stream, step);
}

void FindDigits(const CutStep& step, Stream& stream) {
  if (step.num_rows == 0) return;
  LaunchOverlapped(FindKernel, dim3(Rows(step)), dim3(kFindThreads), 0, stream, step);
}

void ChooseBeforeCuts(const CutStep& step, Stream& stream) {
  if (step.num_rows == 0) return;
  const int chunks = step.count == 0 ? 0 : NumChunks(step.count, step.first_id);
  if (chunks > 0) {
    LaunchOverlapped(ChooseKernel, dim3(Rows(step), static_cast<unsigned>(chunks)),
                     dim3(kExamineThreads), 0, stream, step);
  }
  LaunchOverlapped(BestOfPartsKernel, dim3(Rows(step)), dim3(32), 0, stream, step, chunks);
}

}  // namespace skein::cuda
