// Products of few rows with AWQ int4 weights on bf16 tensor cores. A nibble q becomes the bfloat16
// number 128 + q by setting bits; 128 + z is taken off in bfloat16, which is exact for such small
// integers. Each group's sums are scaled in float32. The weights are the A operand (16 columns x 16
// inputs), so one pass serves 8 rows of x for the price of one.
//
// A block takes a run of column groups (one or two tiles of 16 columns) times a slice of the
// inputs. Its part of x lies in shared memory in the order of B fragments; the units (tiles times
// 128 inputs) are dealt out to the warps as one row of units, each warp's share in one piece, which
// it streams through a ring of its own: no barrier in the loop. Instructions of a warp for a unit
// and 8 rows: 2 + 1 asynchronous copies, 2 loads of words, 2 of tables, 4 of x, 8 words times (3
// shifts, 4 logic, 4 subtractions), 8 mma, 4 + 4 to scale, about 12 for the loop: some 130, where
// 1088 bytes at 4.4 TB/s over 132 multiprocessors of 1.9 GHz leave 250 issue slots.

#include <algorithm>
#include <cstddef>

#include "cuda/cuda_check.h"
#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"

namespace skein::cuda {
namespace {

constexpr int kWordBytes = 1024;  // of a unit
constexpr int kTableBytes = 64;   // of a table
constexpr int kXBytes = 256;      // of a row and a unit
// From one row of a tile's partial sums to the next: no bank conflicts where fragments are stored.
constexpr int kSumStride = 20;
// What a block asks the L2 cache for ahead of its ring while the kernel before it runs.
constexpr int kPrefetchUnits = 128;

__device__ __forceinline__ void PrefetchToL2([[maybe_unused]] const void* address) {
#ifdef __CUDA_ARCH__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

// How the column tiles make groups, and the groups and units a grid.
struct Spread {
  int groups;
  int group_tiles, member_tiles;  // tiles from one group, and one member of it, to the next
  int units_per_slice, slices;
  // The last block of a column of the grid adds the slices up; otherwise SumKernel does.
  bool uses_tickets;
};

__device__ __forceinline__ float Silu(float x) { return x / (1.0f + __expf(-x)); }

__device__ __forceinline__ void Store(const AwqOperands& p, int64_t row, int64_t column,
                                      float value) {
  if (p.out_is_float) {
    static_cast<float*>(p.out)[row * p.out_stride + column] = value;
  } else {
    static_cast<__nv_bfloat16*>(p.out)[row * p.out_stride + column] = __float2bfloat16(value);
  }
}

// Complete sums of a row at column `column` of each member of a group become outputs.
template <int kMembers>
__device__ __forceinline__ void Finish(const AwqWeights& w, const AwqOperands& p, const Spread& s,
                                       int64_t row, int64_t group, int column,
                                       const float (&values)[kMembers]) {
  const int64_t first = group * s.group_tiles * kAwqTileColumns + column;
  const int64_t step = static_cast<int64_t>(s.member_tiles) * kAwqTileColumns;
  if constexpr (kMembers == 2) {
    if (p.swiglu) {
      float gate = values[0], up = values[1];
      if (p.bias != nullptr) {
        gate += p.bias[first];
        up += p.bias[first + step];
      }
      Store(p, row, first, Silu(gate) * up);
      return;
    }
  }
#pragma unroll
  for (int m = 0; m < kMembers; ++m) {
    const int64_t place = first + m * step;
    if (place >= w.out_features) continue;
    Store(p, row, place, p.bias == nullptr ? values[m] : values[m] + p.bias[place]);
  }
}

// Sums of one slice: [slices, rows, padded_out].
__device__ __forceinline__ float* Partial(const AwqWeights& w, const AwqOperands& p,
                                          const Spread& s, int64_t slice, int64_t row,
                                          int64_t group, int member, int column) {
  const int64_t tile = group * s.group_tiles + static_cast<int64_t>(member) * s.member_tiles;
  return p.partial + (slice * p.rows + row) * w.padded_out + tile * kAwqTileColumns + column;
}

// Four columns of a row of a group, slice after slice. item: (group, row, quarter of a tile).
template <int kMembers>
__device__ __forceinline__ void SumSlices(const AwqWeights& w, const AwqOperands& p,
                                          const Spread& s, int64_t first_group, int item) {
  const int rows = static_cast<int>(p.rows);
  const int column = item % 4 * 4;
  const int row = item / 4 % rows;
  const int64_t group = first_group + item / 4 / rows;
  float sums[kMembers][4];
#pragma unroll
  for (auto& quad : sums) {
#pragma unroll
    for (float& value : quad) value = 0.0f;
  }
  const int64_t slice_step = p.rows * w.padded_out;
  const float* from[kMembers];
#pragma unroll
  for (int m = 0; m < kMembers; ++m) from[m] = Partial(w, p, s, 0, row, group, m, column);
#pragma unroll 4
  for (int slice = 0; slice < s.slices; ++slice) {
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      // Past the first-level cache: other blocks wrote it.
      const float4 quad = __ldcg(
          reinterpret_cast<const float4*>(from[m] + static_cast<int64_t>(slice) * slice_step));
      sums[m][0] += quad.x;
      sums[m][1] += quad.y;
      sums[m][2] += quad.z;
      sums[m][3] += quad.w;
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float values[kMembers];
#pragma unroll
    for (int m = 0; m < kMembers; ++m) values[m] = sums[m][i];
    Finish<kMembers>(w, p, s, row, group, column + i, values);
  }
}

template <int kMembers>
__global__ void __launch_bounds__(256)
    SumKernel(const AwqWeights w, const AwqOperands p, const Spread s) {
  LetNextStart();
  WaitForPrevious();
  const int item = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (item < s.groups * static_cast<int>(p.rows) * 4) SumSlices<kMembers>(w, p, s, 0, item);
}

// Units c0 .. c0 + num_units - 1 of x to shared memory: [units, rows, 16 pieces] of 8 inputs. A
// warp reads four pieces of eight rows at a time; odd rows have them in the other half of a line of
// the banks. The copies may still be under way.
__device__ __forceinline__ int PlaceOfPiece(int row, int piece) { return piece ^ (row & 1) << 2; }

template <int kWarps>
__device__ __forceinline__ void StageX(const AwqWeights& w, const AwqOperands& p, int c0,
                                       int num_units, uint4* staged) {
  const int rows = static_cast<int>(p.rows);
  const int lane = threadIdx.x % 32;
  // Warps that share a row.
  int sharing = kWarps;
  while (sharing > 1 && kWarps / sharing < rows) sharing /= 2;
  const int warp = threadIdx.x / 32;
  const bool aligned = p.x_stride % 8 == 0 && w.group_offset % 8 == 0 &&
                       (reinterpret_cast<uint64_t>(p.x) & 15u) == 0;
  for (int row = warp / sharing; row < rows; row += kWarps / sharing) {
    const __nv_bfloat16* source = p.x + row * p.x_stride;
    for (int piece = warp % sharing * 32 + lane; piece < num_units * 16; piece += sharing * 32) {
      const int64_t in = (static_cast<int64_t>(c0) * 16 + piece) * 8 - w.group_offset;
      uint4* place = staged + (piece / 16 * rows + row) * 16 + PlaceOfPiece(row, piece % 16);
      if (aligned && in >= 0 && in + 8 <= w.in_features) {
        CopyAsync16(place, source + in, true);
        continue;
      }
      uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (in + i < 0 || in + i >= w.in_features) continue;
        const uint32_t bits = __bfloat16_as_ushort(source[in + i]);
        words[i / 2] |= bits << (16 * (i % 2));
      }
      *place = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

// kTiles * 8 rows; groups of kMembers tiles; kSubs tables a unit. Grid (blocks, slices).
template <int kTiles, int kMembers, int kWarps, int kStages, int kSubs, bool kWhole>
struct Product {
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kUnitBytes = kWordBytes + kSubs * kTableBytes;
  static constexpr int kStageBytes = kMembers * kUnitBytes;
  static constexpr int kWarpBytes = kStages * kStageBytes;
  static constexpr int kRingBytes = kWarps * kWarpBytes;
  static constexpr int kSumFloats = kMembers * kTiles * 8 * kSumStride;
  // Every warp may have a share of its first and of its last group.
  static constexpr int kSumBytes = kWhole ? 0 : kWarps * 2 * kSumFloats * 4;

  using Sums = float[kMembers][kTiles][4];

  __device__ static __forceinline__ void Clear(Sums& sums) {
#pragma unroll
    for (auto& tiles : sums) {
#pragma unroll
      for (auto& fragment : tiles) {
#pragma unroll
        for (float& value : fragment) value = 0.0f;
      }
    }
  }

  // total += the product of the stage's unit and its part of x. `words` and `tables` are where
  // this lane's begin; x[t] is the piece of quarter 0 of this lane's row of tile t, in bytes from
  // `staged`.
  __device__ static __forceinline__ void Multiply(const char* words, const char* tables,
                                                  const char* staged, const int (&x)[kTiles],
                                                  Sums& total) {
    Sums sums;
    Clear(sums);
    float scale[kMembers][2];
    __nv_bfloat162 zero[kMembers][2];
    uint4 raw[kMembers];
#pragma unroll
    for (int quarter = 0; quarter < 4; ++quarter) {
#pragma unroll
      for (int m = 0; m < kMembers; ++m) {
        if (quarter % 2 == 0) {
          raw[m] = *reinterpret_cast<const uint4*>(words + m * kUnitBytes + quarter / 2 * 512);
        }
        if (quarter % (4 / kSubs) == 0) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const uint32_t entry = *reinterpret_cast<const uint32_t*>(
                tables + m * kUnitBytes + quarter * kSubs / 4 * kTableBytes + 32 * half);
            scale[m][half] = TableScale(entry);
            zero[m][half] = TableZero(entry);
          }
        }
      }
      uint4 b[kTiles];
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        // PlaceOfPiece: an odd quarter is the other half of the same 128 bytes.
        b[t] =
            *reinterpret_cast<const uint4*>(staged + (x[t] ^ quarter % 2 * 64) + quarter / 2 * 128);
      }
#pragma unroll
      for (int m = 0; m < kMembers; ++m) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const uint32_t word =
              quarter % 2 == 0 ? (j == 0 ? raw[m].x : raw[m].y) : (j == 0 ? raw[m].z : raw[m].w);
          const uint32_t a[4] = {
              FragmentRegister(word, 0, zero[m][0]), FragmentRegister(word, 1, zero[m][1]),
              FragmentRegister(word, 2, zero[m][0]), FragmentRegister(word, 3, zero[m][1])};
#pragma unroll
          for (int t = 0; t < kTiles; ++t) {
            MultiplyAccumulate(sums[m][t], a, j == 0 ? b[t].x : b[t].z, j == 0 ? b[t].y : b[t].w);
          }
        }
      }
      if ((quarter + 1) % (4 / kSubs) != 0) continue;
#pragma unroll
      for (int m = 0; m < kMembers; ++m) {
#pragma unroll
        for (int t = 0; t < kTiles; ++t) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            total[m][t][i] = fmaf(scale[m][i / 2], sums[m][t][i], total[m][t][i]);
            sums[m][t][i] = 0.0f;
          }
        }
      }
    }
  }

  // Complete sums of this block's slice of the inputs.
  __device__ static __forceinline__ void Deliver(const AwqWeights& w, const AwqOperands& p,
                                                 const Spread& s, int row, int group, int column,
                                                 const float (&values)[kMembers]) {
    if (s.slices == 1) {
      Finish<kMembers>(w, p, s, row, group, column, values);
      return;
    }
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      *Partial(w, p, s, blockIdx.y, row, group, m, column) = values[m];
    }
  }

  // The same for all sums of a warp.
  __device__ static __forceinline__ void DeliverAll(const AwqWeights& w, const AwqOperands& p,
                                                    const Spread& s, int group, const Sums& sums) {
    const int lane = threadIdx.x % 32;
    const int rows = static_cast<int>(p.rows);
    float* const partial = Partial(w, p, s, blockIdx.y, lane % 4 * 2, group, 0, lane / 4);
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int row = t * 8 + lane % 4 * 2 + odd;
        if (row >= rows) continue;
        float* const place = partial + (t * 8 + odd) * w.padded_out;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float values[kMembers];
#pragma unroll
          for (int m = 0; m < kMembers; ++m) {
            values[m] = sums[m][t][2 * half + odd];
            if (s.slices > 1) place[m * s.member_tiles * kAwqTileColumns + 8 * half] = values[m];
          }
          if (s.slices == 1) {
            Finish<kMembers>(w, p, s, row, group, lane / 4 + 8 * half, values);
          }
        }
      }
    }
  }

  __device__ static __forceinline__ void StoreShare(const Sums& sums, float* share) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = t * 8 + lane % 4 * 2 + i % 2;
          share[(m * kTiles * 8 + row) * kSumStride + lane / 4 + 8 * (i / 2)] = sums[m][t][i];
        }
      }
    }
  }

  // Groups of which several warps have shares, in the order of the warps.
  __device__ static __forceinline__ void AddShares(const AwqWeights& w, const AwqOperands& p,
                                                   const Spread& s, int first_group, int num_groups,
                                                   int num_units, const float* shares) {
    const int count = num_groups * num_units;
    const auto begin = [&](int warp) { return count * warp / kWarps; };
    const auto owner = [&](int unit) { return ((unit + 1) * kWarps - 1) / count; };
    for (int g = 0; g < num_groups; ++g) {
      const int first = owner(g * num_units);
      const int last = owner((g + 1) * num_units - 1);
      if (first == last) continue;
      for (int row = static_cast<int>(threadIdx.x) / 16; row < p.rows; row += kThreads / 16) {
        const int column = threadIdx.x % 16;
        float values[kMembers];
#pragma unroll
        for (float& value : values) value = 0.0f;
        for (int warp = first; warp <= last; ++warp) {
          if (begin(warp) == begin(warp + 1)) continue;
          // The first warp may have come from the group before: then this is its last share.
          const int which = begin(warp) < g * num_units ? 1 : 0;
          const float* share = shares + (warp * 2 + which) * kSumFloats;
#pragma unroll
          for (int m = 0; m < kMembers; ++m) {
            values[m] += share[(m * kTiles * 8 + row) * kSumStride + column];
          }
        }
        Deliver(w, p, s, row, first_group + g, column, values);
      }
    }
  }

  __device__ static __forceinline__ void Run(const AwqWeights& w, const AwqOperands& p,
                                             const Spread& s, char* shared) {
    LetNextStart();
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int rows = static_cast<int>(p.rows);
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    const int first_group = static_cast<int>(static_cast<int64_t>(s.groups) * block / blocks);
    const int num_groups =
        static_cast<int>(static_cast<int64_t>(s.groups) * (block + 1) / blocks) - first_group;
    const int c0 = static_cast<int>(blockIdx.y) * s.units_per_slice;
    const int num_units = min(s.units_per_slice, static_cast<int>(w.units) - c0);
    const int grain = kWhole ? num_units : 1;
    const int grains = num_groups * num_units / grain;
    const int begin = grains * warp / kWarps * grain;
    const int end = grains * (warp + 1) / kWarps * grain;

    // Where the next unit is read from, and what to add from one group to the next.
    constexpr int kTablesBytes = kSubs * kTableBytes;
    const int64_t start =
        (static_cast<int64_t>(first_group) + begin / num_units) * s.group_tiles * w.units + c0 +
        begin % num_units;
    const char* next_words =
        reinterpret_cast<const char*>(w.words) + start * kWordBytes + lane * 16;
    const char* next_tables =
        reinterpret_cast<const char*>(w.tables) + start * kTablesBytes + lane * 16;
    const int64_t group_step = s.group_tiles * w.units - num_units;
    const int64_t member_step = s.member_tiles * w.units;
    int ahead = end - begin;             // units to be read,
    int ahead_unit = begin % num_units;  // the next of which is this one of its group
    // Offsets are carried from round to round: what can be computed again is, with many
    // instructions.
    const int ring = warp * kWarpBytes;
    int write = ring + lane * 16;
    const int write_end = write + kWarpBytes;
    const auto load = [&]() {
      if (ahead > 0) {
#pragma unroll
        for (int m = 0; m < kMembers; ++m) {
          char* to = shared + write + m * kUnitBytes;
          const char* words = next_words + m * member_step * kWordBytes;
          CopyAsync16(to, words, true);
          CopyAsync16(to + 512, words + 512, true);
          if (lane < 4 * kSubs) {
            CopyAsync16(to + kWordBytes, next_tables + m * member_step * kTablesBytes, true);
          }
        }
        --ahead;
        next_words += kWordBytes;
        next_tables += kTablesBytes;
        if (++ahead_unit == num_units) {
          ahead_unit = 0;
          next_words += group_step * kWordBytes;
          next_tables += group_step * kTablesBytes;
        }
      }
      CommitAsync();
      write += kStageBytes;
      if (write == write_end) write -= kWarpBytes;
    };
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) load();
    const int wanted =
        min(kPrefetchUnits / (kWarps * kMembers), min(ahead, num_units - ahead_unit));
#pragma unroll
    for (int m = 0; m < kMembers; ++m) {
      for (int line = lane; line < wanted * (kWordBytes / 128); line += 32) {
        PrefetchToL2(next_words - lane * 16 + m * member_step * kWordBytes + line * 128);
      }
    }

    WaitForPrevious();
    char* const staged = shared + kRingBytes;
    StageX<kWarps>(w, p, c0, num_units, reinterpret_cast<uint4*>(staged));
    CommitAsync();
    WaitAsync<0>();
    __syncthreads();

    Sums total, first;
    Clear(total);
    bool has_first = false, has_last = false;
    int group = first_group + begin / num_units;
    int unit = begin % num_units;
    // Where this lane's piece of quarter 0 lies in the unit's part of x. Rows that are not there
    // have the last row's values: columns of a product do not mix, and theirs are dropped.
    int x[kTiles];
    const auto place_x = [&] {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int row = min(t * 8 + lane / 4, rows - 1);
        x[t] = (unit * rows + row) * kXBytes + PlaceOfPiece(row, lane % 4) * 16;
      }
    };
    place_x();
    const int table = kWordBytes + lane / 4 * 4 - lane * 16;
    int read = ring + lane * 16;
    int length = 0;
    for (int left = end - begin; left > 0; --left) {
      WaitAsync<kStages - 2>();
      // What other lanes copied is there, and what they read of the slot before is no more needed.
      __syncwarp();
      load();
      Multiply(shared + read, shared + read + table, staged, x, total);
      read += kStageBytes;
      if (read == write_end) read -= kWarpBytes;
#pragma unroll
      for (int& place : x) place += rows * kXBytes;
      ++unit;
      ++length;
      if (unit < num_units && left > 1) continue;
      if (kWhole || length == num_units) {
        DeliverAll(w, p, s, group, total);
        Clear(total);
      } else if (group == first_group + begin / num_units) {
        has_first = true;
#pragma unroll
        for (int m = 0; m < kMembers; ++m) {
#pragma unroll
          for (int t = 0; t < kTiles; ++t) {
#pragma unroll
            for (int k = 0; k < 4; ++k) first[m][t][k] = total[m][t][k];
          }
        }
        Clear(total);
      } else {
        has_last = true;  // the end of the warp's share: it stays where it is
      }
      unit = 0;
      length = 0;
      ++group;
      place_x();
    }
    if constexpr (!kWhole) {
      auto* const shares = reinterpret_cast<float*>(shared);
      __syncthreads();  // the ring and x are free
      if (has_first) StoreShare(first, shares + warp * 2 * kSumFloats);
      if (has_last) StoreShare(total, shares + (warp * 2 + 1) * kSumFloats);
      __syncthreads();
      AddShares(w, p, s, first_group, num_groups, num_units, shares);
    }
    if (!s.uses_tickets) return;
    // The slices of these columns are complete when all blocks of this column of the grid have been
    // here; the order of the sums does not depend on who is last.
    __threadfence();
    __syncthreads();
    auto* const ticket = reinterpret_cast<uint32_t*>(shared);
    if (threadIdx.x == 0) {
      *ticket = atomicInc(w.tickets + block, static_cast<uint32_t>(s.slices) - 1);
    }
    __syncthreads();
    if (*ticket != static_cast<uint32_t>(s.slices) - 1) return;
    __threadfence();
    for (int item = static_cast<int>(threadIdx.x); item < num_groups * rows * 4; item += kThreads) {
      SumSlices<kMembers>(w, p, s, first_group, item);
    }
  }
};

template <typename P>
__global__ void __launch_bounds__(P::kThreads, 1)
    ProductKernel(const AwqWeights w, const AwqOperands p, const Spread s) {
  extern __shared__ __align__(128) char shared[];
  P::Run(w, p, s, shared);
}

int CeilDiv(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

Spread MakeSpread(const AwqWeights& w, bool swiglu, int members) {
  Spread spread{};
  if (swiglu) {
    const int half = static_cast<int>(w.out_features / 2 / kAwqTileColumns);
    spread.groups = half;
    spread.group_tiles = 1;
    spread.member_tiles = half;
  } else {
    spread.groups = CeilDiv(w.out_features, kAwqTileColumns * members);
    spread.group_tiles = members;
    spread.member_tiles = 1;
  }
  return spread;
}

int RingBytes(const AwqWeights& w, const AwqTuning& tuning) {
  return tuning.warps * tuning.stages * tuning.members *
         (kWordBytes + w.tables_per_unit * kTableBytes);
}

template <typename P>
void Launch(const AwqWeights& w, const AwqOperands& p, const Spread& s, int blocks,
            cudaStream_t stream) {
  const int x_bytes = static_cast<int>(p.rows) * kXBytes * s.units_per_slice;
  const int bytes = std::max(P::kRingBytes + x_bytes, P::kSumBytes);
  const auto kernel = ProductKernel<P>;
  static const bool raised = [&] {
    const AwqDevice device = CurrentAwqDevice();
    SKEIN_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    device.shared_bytes));
    return true;
  }();
  static_cast<void>(raised);
  LaunchOverlapped(kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(s.slices)),
                   dim3(P::kThreads), static_cast<size_t>(bytes), stream, w, p, s);
}

// The kernel of a tuning that takes at most 16 rows.
template <int kTuning>
void LaunchFew(const AwqWeights& w, const AwqOperands& p, const Spread& s, int blocks,
               cudaStream_t stream) {
  constexpr AwqTuning kTuned = kAwqTunings[kTuning];
  if (p.rows <= 8) {
    Launch<Product<1, kTuned.members, kTuned.warps, kTuned.stages, 1, kTuned.whole>>(
        w, p, s, blocks, stream);
  } else {
    Launch<Product<2, kTuned.members, kTuned.warps, kTuned.stages, 1, kTuned.whole>>(
        w, p, s, blocks, stream);
  }
}

template <int kSubs>
void LaunchWhole(const AwqWeights& w, const AwqOperands& p, const Spread& s, int blocks,
                 cudaStream_t stream) {
  constexpr AwqTuning kTuned = kAwqTunings[kAwqWhole];
  const auto launch =
      p.rows <= 8    ? Launch<Product<1, kTuned.members, kTuned.warps, kTuned.stages, kSubs, true>>
      : p.rows <= 16 ? Launch<Product<2, kTuned.members, kTuned.warps, kTuned.stages, kSubs, true>>
      : p.rows <= 32 ? Launch<Product<4, kTuned.members, kTuned.warps, kTuned.stages, kSubs, true>>
                     : Launch<Product<8, kTuned.members, kTuned.warps, kTuned.stages, kSubs, true>>;
  launch(w, p, s, blocks, stream);
}

// Bytes that the busiest multiprocessor moves, scaled to what they cost beside weights.
double Cost(const AwqWeights& w, const AwqTuning& tuning, const Spread& s, const AwqPlan& plan,
            int64_t rows) {
  // About the time that 40 kB of weights take: a fence, a ticket and a first read.
  constexpr double kSecondPass = 40e3;
  const double groups = CeilDiv(s.groups, plan.blocks);
  const double unit = tuning.members * (kWordBytes + w.tables_per_unit * kTableBytes);
  const double x = static_cast<double>(rows) * kXBytes * plan.units_per_slice / 3;
  const double sums =
      groups * tuning.members * kAwqTileColumns * static_cast<double>(rows) * sizeof(float) * 2;
  return groups * plan.units_per_slice * unit + x + (plan.slices > 1 ? kSecondPass + sums : 0);
}

AwqPlan Slice(const AwqWeights& w, const Spread& s, int tuning, int slices, int multiprocessors) {
  AwqPlan plan{};
  plan.tuning = tuning;
  plan.units_per_slice = CeilDiv(w.units, slices);
  plan.slices = CeilDiv(w.units, plan.units_per_slice);
  plan.blocks = std::clamp(multiprocessors / plan.slices, 1, std::min(s.groups, kAwqMaxTickets));
  return plan;
}

}  // namespace

AwqDevice CurrentAwqDevice() {
  AwqDevice device{};
  int index = 0;
  SKEIN_CUDA(cudaGetDevice(&index));
  SKEIN_CUDA(
      cudaDeviceGetAttribute(&device.multiprocessors, cudaDevAttrMultiProcessorCount, index));
  SKEIN_CUDA(
      cudaDeviceGetAttribute(&device.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index));
  return device;
}

bool AwqTakes(const AwqWeights& weights, int tuning, int64_t rows, bool swiglu) {
  const AwqTuning& tuned = kAwqTunings[tuning];
  if (swiglu && (tuned.members != 2 || weights.out_features % (2 * kAwqTileColumns) != 0)) {
    return false;
  }
  if (rows < 1 || rows > kAwqMaxRows) return false;
  return tuning == kAwqWhole || (rows <= 16 && weights.tables_per_unit == 1);
}

AwqPlan PlanAwq(const AwqWeights& weights, int64_t rows, bool swiglu, const AwqDevice& device,
                int tuning) {
  if (tuning < 0) {
    tuning = rows > 16 || weights.tables_per_unit != 1 ? kAwqWhole : rows > 8 ? 3 : swiglu ? 2 : 0;
    // A block of a smaller GPU has no room for the larger rings.
    while (tuning != kAwqWhole &&
           RingBytes(weights, kAwqTunings[tuning]) + static_cast<int>(rows) * kXBytes * 8 >
               device.shared_bytes) {
      tuning = kAwqWhole;
    }
  }
  const AwqTuning& tuned = kAwqTunings[tuning];
  const Spread spread = MakeSpread(weights, swiglu, tuned.members);
  const int room =
      (device.shared_bytes - RingBytes(weights, tuned)) / (static_cast<int>(rows) * kXBytes);
  SKEIN_CHECK(room > 0, "tuning %d needs %d bytes of shared memory", tuning,
              RingBytes(weights, tuned));
  const int fewest = CeilDiv(weights.units, room);
  AwqPlan best = Slice(weights, spread, tuning, fewest, device.multiprocessors);
  for (int slices = fewest + 1; slices <= std::max(fewest, 16); ++slices) {
    const AwqPlan plan = Slice(weights, spread, tuning, slices, device.multiprocessors);
    if (Cost(weights, tuned, spread, plan, rows) < Cost(weights, tuned, spread, best, rows)) {
      best = plan;
    }
  }
  return best;
}

AwqPlan PlanAwqDeterministic(const AwqWeights& weights, bool swiglu, const AwqDevice& device) {
  const AwqTuning& tuned = kAwqTunings[kAwqWhole];
  const int room = (device.shared_bytes - RingBytes(weights, tuned)) / (kAwqMaxRows * kXBytes);
  return Slice(weights, MakeSpread(weights, swiglu, tuned.members), kAwqWhole,
               CeilDiv(weights.units, room), device.multiprocessors);
}

size_t AwqPartialBytes(const AwqWeights& weights, const AwqPlan& plan, int64_t rows) {
  if (plan.slices == 1) return 0;
  return static_cast<size_t>(plan.slices * rows * weights.padded_out) * sizeof(float);
}

void AwqProduct(const AwqWeights& weights, const AwqOperands& operands, const AwqPlan& plan,
                cudaStream_t stream) {
  if (operands.rows == 0) return;
  SKEIN_CHECK(AwqTakes(weights, plan.tuning, operands.rows, operands.swiglu),
              "tuning %d for %lld rows", plan.tuning, static_cast<long long>(operands.rows));
  const int members = kAwqTunings[plan.tuning].members;
  Spread spread = MakeSpread(weights, operands.swiglu, members);
  spread.units_per_slice = plan.units_per_slice;
  spread.slices = plan.slices;
  // One block has time to add up the slices of few rows only.
  spread.uses_tickets = plan.slices > 1 && operands.rows <= 16;
  switch (plan.tuning) {
    case 0:
      LaunchFew<0>(weights, operands, spread, plan.blocks, stream);
      break;
    case 1:
      LaunchFew<1>(weights, operands, spread, plan.blocks, stream);
      break;
    case 2:
      LaunchFew<2>(weights, operands, spread, plan.blocks, stream);
      break;
    case 3:
      LaunchFew<3>(weights, operands, spread, plan.blocks, stream);
      break;
    case 4:
      LaunchFew<4>(weights, operands, spread, plan.blocks, stream);
      break;
    default:
      weights.tables_per_unit == 1 ? LaunchWhole<1>(weights, operands, spread, plan.blocks, stream)
                                   : LaunchWhole<4>(weights, operands, spread, plan.blocks, stream);
  }
  if (plan.slices == 1 || spread.uses_tickets) return;
  const int items = spread.groups * static_cast<int>(operands.rows) * 4;
  LaunchOverlapped(members == 2 ? SumKernel<2> : SumKernel<1>,
                   dim3(static_cast<unsigned>(CeilDiv(items, 256))), dim3(256), 0, stream, weights,
                   operands, spread);
}

}  // namespace skein::cuda
