// Compiled without fused multiply-add (CMakeLists.txt): penalties, masses and noise are defined by
// plain IEEE operations, one rounding each, and must be the host's to the last bit.
//
// Two kernels a step. The first takes a part of a row a block: it adjusts it, and leaves the
// highest logit, the part's best token and the best of every tile of 32 tokens. The second has one
// block a row that finds the candidates, and blocks that sum masses. The best K tokens lie in the K
// tiles whose best tokens are best: each of these precedes every token of the other tiles. So of a
// row only K tiles are looked at again.
#include <cfloat>
#include <climits>

#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/sampling.h"

namespace skein::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;

// ---- the first kernel's cut: a thread takes four ids, which share one call of the generator ----
constexpr int kExamineThreads = 256;
constexpr int kGroupsPerThread = 2;
constexpr int kGroupsPerChunk = kExamineThreads * kGroupsPerThread;
constexpr int kTileTokens = 32;
constexpr int kGroupsPerTile = kTileTokens / 4;

// ---- the second's ----
constexpr int kFinishThreads = 512;
constexpr int kLogitsPerThread = 8;
constexpr int kLogitsPerMassBlock = kFinishThreads * kLogitsPerThread;
// Tokens that are sorted at once; rarely more come near the best K.
constexpr int kSortCapacity = 2048;
static_assert(kSortCapacity >= kMaxRowCandidates);
constexpr int kDigitBits = 8;
constexpr int kNumDigits = 1 << kDigitBits;
// Lanes of a warp count the same digit most of the time: copies keep them apart.
constexpr int kHistogramCopies = 8;
// Values that a thread loads before it uses the first.
constexpr int kUnroll = 4;

// Philox4x32-10, as in cpu/sampling_noise.h.
__device__ __forceinline__ void Philox(uint64_t seed, uint32_t (&c)[4]) {
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0;
    c[2] = static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1;
    c[1] = static_cast<uint32_t>(b);
    c[3] = static_cast<uint32_t>(a);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// The series of cpu/sampling_noise.cc.
__device__ __forceinline__ double NaturalLog(double x) {
  const auto bits = static_cast<uint64_t>(__double_as_longlong(x));
  const uint64_t sqrt_half = 0x3FE6A09E667F3BCD;
  const uint64_t biased = (bits - sqrt_half + (uint64_t{1024} << 52)) >> 52;
  const double e = static_cast<double>(biased) - 1024.0;
  const double f =
      __longlong_as_double(static_cast<long long>(bits - ((biased - 1024) << 52))) - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  return e * 0.693147180559945309417 + (2.0 * s + s * (z * r));
}

__device__ __forceinline__ double Gumbel(uint32_t word) {
  const double u = (static_cast<double>(word) + 0.5) * 0x1p-32;
  return -NaturalLog(-NaturalLog(u));
}

// exp(d) for d <= 0: the series of cpu/sampling_kernels.cc.
__device__ __forceinline__ float ExpNonPositive(float d) {
  const float magic = 12582912.0f;
  const float shifted = d * 1.44269504088896341f + magic;
  const float n = shifted - magic;
  const float r = (d - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t exponent = __float_as_uint(shifted) - __float_as_uint(magic) + 127u;
  const float result = p * __uint_as_float(exponent << 23);
  return d >= -87.0f ? result : 0.0f;
}

// exp(d) in units of 2^-42, rounded as cpu/sampling_kernels.cc rounds it. Below -31 (2^-43 is
// exp(-29.8)) that is nothing.
__device__ __forceinline__ unsigned long long MassOf(float d) {
  if (!(d >= -31.0f)) return 0;
  const double magic = 0x1.8p52;
  return static_cast<unsigned long long>(
      __double_as_longlong(static_cast<double>(ExpNonPositive(d)) * 0x1p42 + magic) -
      __double_as_longlong(magic));
}

__device__ __forceinline__ float Clamped(float x) {
  x = x > -FLT_MAX ? x : -FLT_MAX;
  return x < FLT_MAX ? x : FLT_MAX;
}

// An integer that grows with the number; above 0 for every finite one, and lower for -0 than for 0.
__device__ __forceinline__ uint32_t OrderedBits(float x) {
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float FromOrderedBits(uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}
// The same, but equal for both zeros, as the order of tokens wants it.
__device__ __forceinline__ uint32_t OrderKey(float x) { return OrderedBits(x + 0.0f); }

// An integer that is higher for what comes first: the higher key, of equals the lower index (below
// 2^24).
constexpr int kPlaceBits = 24;
__device__ __forceinline__ uint64_t PlaceOf(uint32_t key, int32_t index) {
  return (static_cast<uint64_t>(key) << kPlaceBits) | (0xFFFFFFu - static_cast<uint32_t>(index));
}
__device__ __forceinline__ int32_t IndexOf(uint64_t place) {
  return static_cast<int32_t>(0xFFFFFFu - (static_cast<uint32_t>(place) & 0xFFFFFFu));
}

__device__ __forceinline__ void TakeHigher(BestToken& best, const BestToken& b) {
  if (b.id == INT_MAX) return;
  if (best.id == INT_MAX || b.value > best.value || (b.value == best.value && b.id < best.id)) {
    best = b;
  }
}

// The best of the warp, in all lanes.
__device__ __forceinline__ void TakeHighestOfWarp(BestToken& best) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    BestToken other;
    other.value = __shfl_xor_sync(kAllLanes, best.value, offset);
    other.logit = __shfl_xor_sync(kAllLanes, best.logit, offset);
    other.id = __shfl_xor_sync(kAllLanes, best.id, offset);
    TakeHigher(best, other);
  }
}

// Adds the biases of one token, in their order.
__device__ float AddBiases(float logit, const TokenBias* biases, int32_t count, int32_t index) {
  int32_t low = 0, high = count;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (biases[middle].index < index) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < count && biases[low].index == index; ++low) logit += biases[low].value;
  return logit;
}

// SequenceState::Adjust of one token.
__device__ __forceinline__ float Adjusted(float logit, uint32_t word, const SamplingRow& row,
                                          const TokenBias* biases, int32_t index) {
  const uint32_t generated = word & kGeneratedMask;
  if (row.repetition_penalty != 1.0f && ((word & kInPrompt) != 0 || generated > 0)) {
    logit = logit < 0 ? logit * row.repetition_penalty : logit / row.repetition_penalty;
  }
  if (generated > 0) {
    logit -= row.presence_penalty;
    logit -= row.frequency_penalty * static_cast<float>(static_cast<int32_t>(generated));
  }
  if ((word & kIsBiased) != 0) logit = AddBiases(logit, biases, row.num_biases, index);
  if ((word & kIsStopToken) != 0 && row.bans_stop_tokens) logit = -FLT_MAX;
  return logit;
}

__global__ void __launch_bounds__(256)
    UpdateKernel(const WordUpdate* updates, int64_t count, uint32_t* words) {
  LetNextStart();
  WaitForPrevious();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) words[updates[i].position] = updates[i].word;
}

// values[first, first + 4), 0 where that is not within [0, count).
template <typename T>
__device__ __forceinline__ void LoadFour(const T* values, int32_t first, int32_t count,
                                         T (&out)[4]) {
  struct alignas(16) Four {
    T at[4];
  };
  const T* from = values + first;
  if (first >= 0 && first + 4 <= count && reinterpret_cast<uintptr_t>(from) % sizeof(Four) == 0) {
    const Four four = *reinterpret_cast<const Four*>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = four.at[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[i] = first + i >= 0 && first + i < count ? from[i] : T{0};
  }
}

// Block (part of the vocabulary, row). Parts begin at multiples of 32 token ids, so that a tile
// lies in eight neighbouring lanes.
__global__ void __launch_bounds__(kExamineThreads) ExamineKernel(const SamplingStep step) {
  __shared__ BestToken warp_best[kExamineThreads / 32];
  __shared__ uint32_t warp_max[kExamineThreads / 32];
  LetNextStart();
  WaitForPrevious();
  const int32_t row_index = static_cast<int32_t>(blockIdx.y);
  const SamplingRow row = step.rows[row_index];
  float* values = step.logits + row.row * step.stride;
  uint32_t* words = step.words + static_cast<int64_t>(row.slot) * step.count;
  const TokenBias* biases = step.biases + static_cast<int64_t>(row.slot) * kMaxTokenBiases;
  const int32_t first_tile = step.first_id / kTileTokens;
  const int32_t end_tile = (step.first_id + step.count + kTileTokens - 1) / kTileTokens;
  uint32_t* tile_keys = step.tile_keys + static_cast<int64_t>(row_index) * (end_tile - first_tile);
  const int32_t first_group =
      first_tile * kGroupsPerTile + static_cast<int32_t>(blockIdx.x) * kGroupsPerChunk;
  BestToken best{0.0, -FLT_MAX, INT_MAX};
  uint32_t max_key = 0;
#pragma unroll
  for (int pass = 0; pass < kGroupsPerThread; ++pass) {
    const int32_t group = first_group + pass * kExamineThreads + static_cast<int32_t>(threadIdx.x);
    const int32_t first_index = group * 4 - step.first_id;
    float loaded[4];
    uint32_t word[4] = {0, 0, 0, 0};
    LoadFour(values, first_index, step.count, loaded);
    if (row.adjusts) LoadFour(words, first_index, step.count, word);
    uint32_t random[4] = {static_cast<uint32_t>(group), row.choice_index,
                          static_cast<uint32_t>(row.position),
                          static_cast<uint32_t>(row.position >> 32)};
    if (row.best == kHighestNoisy) Philox(row.seed, random);
    uint32_t tile_key = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t index = first_index + i;
      if (index < 0 || index >= step.count) continue;
      float logit = loaded[i];
      if (index == row.updated_index) {
        word[i] = row.updated_word;
        words[index] = word[i];
      }
      if (word[i] != 0) logit = Adjusted(logit, word[i], row, biases, index);
      logit = Clamped(logit);
      if (__float_as_uint(logit) != __float_as_uint(loaded[i])) values[index] = logit;
      max_key = max(max_key, OrderedBits(logit));
      tile_key = max(tile_key, OrderKey(logit));
      if (row.best == kNoBest) continue;
      double value = logit;
      if (row.best == kHighestNoisy) {
        value = logit * static_cast<double>(row.inverse_temperature) + Gumbel(random[i]);
      }
      TakeHigher(best, {value, logit, group * 4 + i});
    }
#pragma unroll
    for (int offset = 1; offset < kGroupsPerTile; offset *= 2) {
      tile_key = max(tile_key, __shfl_xor_sync(kAllLanes, tile_key, offset));
    }
    const int32_t tile = group / kGroupsPerTile;
    if (row.num_candidates > 0 && threadIdx.x % kGroupsPerTile == 0 && tile < end_tile) {
      tile_keys[tile - first_tile] = tile_key;
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    max_key = max(max_key, __shfl_xor_sync(kAllLanes, max_key, offset));
  }
  if (row.best != kNoBest) TakeHighestOfWarp(best);
  if (threadIdx.x % 32 == 0) {
    warp_best[threadIdx.x / 32] = best;
    warp_max[threadIdx.x / 32] = max_key;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kExamineThreads / 32; ++warp) {
    TakeHigher(best, warp_best[warp]);
    max_key = max(max_key, warp_max[warp]);
  }
  atomicMax(step.max_keys + row_index, max_key);
  if (row.best != kNoBest) {
    step.parts[static_cast<int64_t>(row_index) * gridDim.x + blockIdx.x] = best;
  }
}

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
__device__ void SortDescending(uint64_t* places, int32_t count) {
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

// The row's best tokens in order. All threads of the block.
__device__ void WriteCandidates(const SamplingStep& step, const SamplingRow& row,
                                const uint32_t* tile_keys, SelectionMemory& memory) {
  const auto thread = static_cast<int32_t>(threadIdx.x);
  const float* values = step.logits + row.row * step.stride;
  const int32_t first_tile = step.first_id / kTileTokens;
  const int32_t num_tiles =
      (step.first_id + step.count + kTileTokens - 1) / kTileTokens - first_tile;
  const int32_t wanted = min(row.num_candidates, step.count);

  // The tiles that hold them, in any order.
  int32_t num_chosen = num_tiles;
  uint32_t lowest_key = 0;
  if (num_tiles <= wanted) {
    for (int32_t tile = thread; tile < num_tiles; tile += kFinishThreads) {
      memory.tiles[tile] = tile;
    }
  } else {
    const auto place_of_tile = [&](int32_t tile) { return PlaceOf(tile_keys[tile], tile); };
    const uint64_t lowest = LowestWanted(num_tiles, wanted, place_of_tile, memory);
    num_chosen = wanted;
    lowest_key = static_cast<uint32_t>(lowest >> kPlaceBits);
    if (thread == 0) memory.count = 0;
    __syncthreads();
    for (int32_t tile = thread; tile < num_tiles; tile += kFinishThreads) {
      if (place_of_tile(tile) >= lowest) memory.tiles[atomicAdd(&memory.count, 1)] = tile;
    }
  }
  __syncthreads();

  // Their tokens that are no worse than the worst of the tiles' best ones; 0 beside the row's ends.
  const auto place_of_token = [&](int32_t i) -> uint64_t {
    const int32_t index = (first_tile + memory.tiles[i / kTileTokens]) * kTileTokens +
                          i % kTileTokens - step.first_id;
    return index >= 0 && index < step.count ? PlaceOf(OrderKey(values[index]), index) : 0;
  };
  const int32_t num_tokens = num_chosen * kTileTokens;
  const auto collect = [&](uint64_t lowest) {
    if (thread == 0) memory.count = 0;
    __syncthreads();
    for (int32_t base = thread; base < num_tokens; base += kUnroll * kFinishThreads) {
      uint64_t place[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int32_t i = base + u * kFinishThreads;
        place[u] = i < num_tokens ? place_of_token(i) : 0;
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        if (place[u] == 0 || place[u] < lowest) continue;
        const int32_t at = atomicAdd(&memory.count, 1);
        if (at < kSortCapacity) memory.places[at] = place[u];
      }
    }
    __syncthreads();
  };
  collect(static_cast<uint64_t>(lowest_key) << kPlaceBits);
  if (memory.count > kSortCapacity) {
    const uint64_t lowest = LowestWanted(num_tokens, wanted, place_of_token, memory);
    collect(lowest);
  }
  SortDescending(memory.places, memory.count);
  auto* candidates = reinterpret_cast<TokenLogit*>(step.block + row.candidates_offset);
  for (int32_t i = thread; i < wanted; i += kFinishThreads) {
    const int32_t index = IndexOf(memory.places[i]);
    candidates[i] = {values[index], step.first_id + index};
  }
}

// The masses of a part of the row. All threads of the block.
__device__ void AddMasses(const SamplingStep& step, const SamplingRow& row, int32_t row_index,
                          int32_t part, Finding& finding) {
  uint32_t max_key = 0;
  for (int32_t rank = 0; rank < step.world_size; ++rank) {
    max_key = max(max_key, step.rank_max_keys[rank * step.num_rows + row_index]);
  }
  const float max_logit = FromOrderedBits(max_key);
  const float* values = step.logits + row.row * step.stride;
  const int32_t first = part * kLogitsPerMassBlock + static_cast<int32_t>(threadIdx.x);
  unsigned long long model = 0, scaled = 0;
#pragma unroll
  for (int i = 0; i < kLogitsPerThread; ++i) {
    const int32_t index = first + i * kFinishThreads;
    if (index >= step.count) continue;
    const float d = values[index] - max_logit;
    if (row.needs_model_mass) model += MassOf(d);
    if (row.needs_scaled_mass) scaled += MassOf(d * row.inverse_temperature);
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    model += __shfl_xor_sync(kAllLanes, model, offset);
    scaled += __shfl_xor_sync(kAllLanes, scaled, offset);
  }
  // Integers: the order in which they are added does not matter.
  if (threadIdx.x % 32 != 0) return;
  if (model != 0) atomicAdd(&finding.model_mass, model);
  if (scaled != 0) atomicAdd(&finding.scaled_mass, scaled);
}

// Block (0: candidates and best token; others: masses of a part of the vocabulary, row).
__global__ void __launch_bounds__(kFinishThreads, 2)
    FinishKernel(const SamplingStep step, int32_t num_chunks, int32_t num_tiles) {
  __shared__ SelectionMemory memory;
  LetNextStart();
  WaitForPrevious();
  const auto row_index = static_cast<int32_t>(blockIdx.y);
  const SamplingRow row = step.rows[row_index];
  Finding& finding = reinterpret_cast<Finding*>(step.block + sizeof(BlockHeader))[row_index];
  if (blockIdx.x != 0) {
    if (row.needs_model_mass || row.needs_scaled_mass) {
      AddMasses(step, row, row_index, static_cast<int32_t>(blockIdx.x) - 1, finding);
    }
    return;
  }
  if (threadIdx.x < 32) {
    BestToken best{0.0, -FLT_MAX, INT_MAX};
    if (row.best != kNoBest) {
      const BestToken* parts = step.parts + static_cast<int64_t>(row_index) * num_chunks;
      for (int32_t i = static_cast<int32_t>(threadIdx.x); i < num_chunks; i += 32) {
        TakeHigher(best, parts[i]);
      }
      TakeHighestOfWarp(best);
    }
    if (threadIdx.x == 0) {
      finding.best = best;
      finding.max_logit = FromOrderedBits(step.max_keys[row_index]);
    }
  }
  if (row.num_candidates > 0) {
    WriteCandidates(step, row, step.tile_keys + static_cast<int64_t>(row_index) * num_tiles,
                    memory);
  }
}

}  // namespace

int NumTiles(int64_t count, int64_t first_id) {
  return static_cast<int>((first_id + count + kTileTokens - 1) / kTileTokens -
                          first_id / kTileTokens);
}

int NumChunks(int64_t count, int64_t first_id) {
  const int tiles_per_chunk = kGroupsPerChunk / kGroupsPerTile;
  return (NumTiles(count, first_id) + tiles_per_chunk - 1) / tiles_per_chunk;
}

void UpdateWords(const WordUpdate* updates, int64_t count, uint32_t* words, cudaStream_t stream) {
  if (count == 0) return;
  LaunchOverlapped(UpdateKernel, dim3(static_cast<unsigned>((count + 255) / 256)), dim3(256), 0,
                   stream, updates, count, words);
}

void ExamineRows(const SamplingStep& step, cudaStream_t stream) {
  if (step.num_rows == 0 || step.count == 0) return;
  const dim3 grid(static_cast<unsigned>(NumChunks(step.count, step.first_id)),
                  static_cast<unsigned>(step.num_rows));
  LaunchOverlapped(ExamineKernel, grid, dim3(kExamineThreads), 0, stream, step);
}

void FinishRows(const SamplingStep& step, cudaStream_t stream) {
  if (step.num_rows == 0 || step.count == 0) return;
  const int mass_parts =
      step.needs_masses ? (step.count + kLogitsPerMassBlock - 1) / kLogitsPerMassBlock : 0;
  LaunchOverlapped(
      FinishKernel,
      dim3(static_cast<unsigned>(1 + mass_parts), static_cast<unsigned>(step.num_rows)),
      dim3(kFinishThreads), 0, stream, step, NumChunks(step.count, step.first_id),
      NumTiles(step.count, step.first_id));
}

}  // namespace skein::cuda
