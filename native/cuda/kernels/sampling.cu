// Compiled without fused multiply-add (CMakeLists.txt): penalties, masses and noise are defined by
// plain IEEE operations, one rounding each, and must be the host's to the last bit.
//
// Two kernels a step. The first takes a part of a row a block: it adjusts and masks it, and leaves
// the highest logit, the part's best token and the best of every tile of 32 tokens. The second has
// one block a row that finds the candidates, and blocks that sum masses. The best K tokens lie in
// the K tiles whose best tokens are best: each of these precedes every token of the other tiles. So
// of a row only K tiles are looked at again.
#include <cfloat>

#include "cuda/cuda_check.h"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/sampling.h"
#include "cuda/kernels/sampling_math.cuh"
#include "cuda/kernels/sampling_rows.cuh"
#include "cuda/kernels/sampling_select.cuh"

namespace skein::cuda {
namespace {

// Of the second kernel.
constexpr int kLogitsPerThread = 8;
constexpr int kLogitsPerMassBlock = kFinishThreads * kLogitsPerThread;

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

// Block (part of the vocabulary, row). Parts begin at multiples of 32 token ids, so that a tile
// lies in eight neighbouring lanes.
__global__ void __launch_bounds__(kExamineThreads) ExamineKernel(const SamplingStep step) {
  __shared__ BestToken warp_best[kExamineThreads / 32];
  __shared__ uint32_t warp_max[kExamineThreads / 32];
  LetNextStart();
  WaitForPrevious();
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) BeginClock(step.clock);
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
  const uint32_t* mask =
      row.mask < 0 ? nullptr
                   : step.masks + static_cast<int64_t>(row.mask) * ((step.count + 31) / 32);
  int32_t counted_index = -1;
  if (row.adjusts && row.counted_token != kNoneToCount) {
    counted_index =
        (row.counted_token == kCountLastToken ? step.last_tokens[row.slot] : row.counted_token) -
        step.first_id;
  }
  BestToken best = NoToken();
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
      // How often it was generated is the word's low end.
      if (index == counted_index) words[index] = ++word[i];
      if (word[i] != 0) logit = Adjusted(logit, word[i], row, biases, index);
      logit = Clamped(logit);
      if (mask != nullptr && (mask[index / 32] >> (index % 32) & 1u) == 0) logit = -FLT_MAX;
      if (__float_as_uint(logit) != __float_as_uint(loaded[i])) values[index] = logit;
      max_key = max(max_key, OrderedBits(logit));
      tile_key = max(tile_key, OrderKey(logit));
      if (row.best == kNoBest) continue;
      double value = logit;
      if (row.best == kHighestNoisy) {
        value = logit * static_cast<double>(row.inverse_temperature) + GumbelOf(random[i]);
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

// Block (row, 0: candidates and best token; others: masses of a part of the vocabulary). The blocks
// that take long begin first.
__global__ void __launch_bounds__(kFinishThreads, 2)
    FinishKernel(const SamplingStep step, int32_t num_chunks, int32_t num_tiles) {
  __shared__ SelectionMemory memory;
  LetNextStart();
  WaitForPrevious();
  const auto row_index = static_cast<int32_t>(blockIdx.x);
  const SamplingRow row = step.rows[row_index];
  Finding& finding = reinterpret_cast<Finding*>(step.block + sizeof(BlockHeader))[row_index];
  if (blockIdx.y != 0) {
    if (row.needs_model_mass || row.needs_scaled_mass) {
      AddMasses(step, row, row_index, static_cast<int32_t>(blockIdx.y) - 1, finding);
    }
    return;
  }
  if (threadIdx.x < 32) {
    BestToken best = NoToken();
    if (row.best != kNoBest) {
      best = HighestOfParts(step.parts + static_cast<int64_t>(row_index) * num_chunks, num_chunks);
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
  if (blockIdx.x == 0 && threadIdx.x == 0) StopClock(step.clock);
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

void UpdateWords(const WordUpdate* updates, int64_t count, uint32_t* words, Stream& stream) {
  if (count == 0) return;
  LaunchOverlapped(UpdateKernel, dim3(static_cast<unsigned>((count + 255) / 256)), dim3(256), 0,
                   stream, updates, count, words);
}

void ExamineRows(const SamplingStep& step, Stream& stream) {
  if (step.num_rows == 0 || step.count == 0) return;
  const dim3 grid(static_cast<unsigned>(NumChunks(step.count, step.first_id)),
                  static_cast<unsigned>(step.num_rows));
  LaunchOverlapped(ExamineKernel, grid, dim3(kExamineThreads), 0, stream, step);
}

void FinishRows(const SamplingStep& step, Stream& stream) {
  if (step.num_rows == 0 || step.count == 0) return;
  const int mass_parts =
      step.needs_masses ? (step.count + kLogitsPerMassBlock - 1) / kLogitsPerMassBlock : 0;
  LaunchOverlapped(
      FinishKernel,
      dim3(static_cast<unsigned>(step.num_rows), static_cast<unsigned>(1 + mass_parts)),
      dim3(kFinishThreads), 0, stream, step, NumChunks(step.count, step.first_id),
      NumTiles(step.count, step.first_id));
}

}  // namespace skein::cuda
