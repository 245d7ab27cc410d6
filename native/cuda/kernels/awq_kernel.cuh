// The kernel of products of few rows with AWQ int4 weights on bf16 tensor cores. A nibble q becomes
// the bfloat16 number 128 + q by setting bits; 128 + z is taken off in bfloat16, which is exact for
// such small integers. Each group's sums are scaled in float32. The weights are the A operand (16
// columns x 16 inputs), so one pass serves 8 rows of x for the price of one.
//
// A block takes a run of column groups (one or two tiles of 16 columns) times a slice of the
// inputs. Its part of x lies in shared memory; the units (tiles times 128 inputs) are dealt out to
// the warps as one row of units, each warp's share in one piece, which it streams through a ring of
// its own: no barrier in the loop. Of several rows x is much, 160 KB of 16: two blocks that run
// side by side bring it for each other (AwqPlan::paired).
//
// The budget: 1088 bytes of a unit at 4.4 TB/s over 132 multiprocessors take 62 clocks of 1.9 GHz,
// or 248 issue slots. A unit takes a warp 96 instructions to make A fragments (8 words times 3
// shifts, 4 logic operations, 4 subtractions, and their tables), 8 mma and 4 loads of x for each 8
// rows, and the loop. Disassembled, with two tiles a group: 145 for 8 rows, 163 for 16, 250 for 64;
// with one tile 174 for 8. Shared memory: 16 + 16 / (tiles a group) clocks for 8 rows.
#pragma once

#include <cstddef>

#include "cuda/kernels/awq.h"
#include "cuda/kernels/awq_multiply.cuh"
#include "cuda/kernels/awq_parts.cuh"
#include "cuda/kernels/awq_sums.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/shared_memory.cuh"

namespace skein::cuda::awq {

// Up to so many rows the last block of a column of the grid adds the slices up; it has no time to
// do so for more, and SumKernel does.
inline constexpr int kTicketRows = 16;

// kTiles * 8 rows; kSubs tables a unit. Grid (blocks, slices).
template <int kTiles, AwqTuning kTuned, int kSubs>
struct Product {
  static constexpr int kMembers = kTuned.members;
  static constexpr int kWarps = kTuned.warps;
  static constexpr int kStages = kTuned.stages;
  static constexpr bool kWhole = kTuned.whole;
  // Chunks of one slice are added up here: of more rows there are no registers for it.
  static constexpr bool kAddsChunks = kWhole && kTiles <= kAwqMostChunkRows / 8;
  using Out = ProductSums<kTiles, kMembers, kWarps>;
  static constexpr int kThreads = Out::kThreads;
  static constexpr int kUnitBytes = AwqRingUnitBytes(kSubs);
  static constexpr int kStageBytes = kMembers * kUnitBytes;
  static constexpr int kWarpBytes = kStages * kStageBytes;
  static constexpr int kRingBytes = kWarps * kWarpBytes;
  // Where x begins: a map places pieces by the address.
  static constexpr int kXPlace = (kRingBytes + 1023) / 1024 * 1024;
  // Rows of x as a map brings them, zeros where there are none.
  static constexpr int kMapRows = kTiles * 8;
  static constexpr int kShareFloats = Out::kShareFloats;
  // Every warp may have a share of its first and of its last group; or has a chunk of a group.
  static constexpr int kSumBytes = kWarps * (kAddsChunks ? 1 : kWhole ? 0 : 2) * kShareFloats * 4;

  using Sums = typename Out::Sums;

  __device__ static __forceinline__ void Run(const AwqWeights& w, const ProductOperands& p,
                                             const AwqPlan& s,
                                             [[maybe_unused]] const CUtensorMap& x_map,
                                             char* shared) {
    LetNextStart();
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int rows = static_cast<int>(p.rows);
    const int blocks = static_cast<int>(gridDim.x);
    const int block = static_cast<int>(blockIdx.x);
    const int first_group = static_cast<int>(static_cast<int64_t>(s.groups) * block / blocks);
    const int num_groups =
        static_cast<int>(static_cast<int64_t>(s.groups) * (block + 1) / blocks) - first_group;
    const auto slice_begin = [&](int slice) {
      return static_cast<int>(w.units) * slice / s.slices;
    };
    const int c0 = slice_begin(static_cast<int>(blockIdx.y));
    const int num_units = slice_begin(static_cast<int>(blockIdx.y) + 1) - c0;
    // A whole tuning's jobs: groups, or their chunks; then a warp has one at most.
    const int parts = kAddsChunks ? s.parts : 1;
    const auto share_begin = [&](int which) {
      if constexpr (!kWhole) return num_groups * num_units * which / kWarps;
      const int job = num_groups * parts * which / kWarps;
      return job / parts * num_units + num_units * (job % parts) / parts;
    };
    const int begin = share_begin(warp);
    const int end = share_begin(warp + 1);

    // Where the next unit is read from, and what to add from one group to the next.
    constexpr int kTablesBytes = kSubs * kAwqTableBytes;
    const int64_t start =
        (static_cast<int64_t>(first_group) + begin / num_units) * s.group_tiles * w.units + c0 +
        begin % num_units;
    const char* next_words =
        reinterpret_cast<const char*>(w.words) + start * kAwqWordBytes + lane * 16;
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
          const char* words = next_words + m * member_step * kAwqWordBytes;
          CopyAsync16(to, words, true);
          CopyAsync16(to + 512, words + 512, true);
          if (lane < 4 * kSubs) {
            CopyAsync16(to + kAwqWordBytes, next_tables + m * member_step * kTablesBytes, true);
          }
        }
        if (kTuned.ahead > 0 && ahead > kTuned.ahead && lane < kAwqWordBytes / 128) {
          // That unit may be one of the next group.
          const int64_t step = ahead_unit + kTuned.ahead < num_units ? 0 : group_step;
#pragma unroll
          for (int m = 0; m < kMembers; ++m) {
            PrefetchToL2(next_words + (m * member_step + step + kTuned.ahead) * kAwqWordBytes +
                         lane * (128 - 16));
          }
        }
        --ahead;
        next_words += kAwqWordBytes;
        next_tables += kTablesBytes;
        if (++ahead_unit == num_units) {
          ahead_unit = 0;
          next_words += group_step * kAwqWordBytes;
          next_tables += group_step * kTablesBytes;
        }
      }
      CommitAsync();
      write += kStageBytes;
      if (write == write_end) write -= kWarpBytes;
    };
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) load();

    char* const staged = shared + kXPlace;
    int half_bytes = rows * kAwqXLine;
#ifdef SKEIN_HOPPER
    if (s.paired) {
      half_bytes = kMapRows * kAwqXLine;
      const int box_bytes = s.units_per_slice * half_bytes;  // half of the units
      const uint32_t barrier = SharedAddress(staged) + 2 * box_bytes;
      if (threadIdx.x == 0) {
        InitBarrier(barrier, 1);
        PrefetchMap(&x_map);
      }
      FenceBarriers();
      ArriveAtCluster();
      WaitForPrevious();
      AwaitCluster();
      if (threadIdx.x == 0) {
        const int rank = static_cast<int>(ClusterRank());
        ExpectBytes(barrier, 2 * box_bytes);
        CopyBoxToBoth(SharedAddress(staged) + rank * box_bytes, &x_map, 0, 0,
                      2 * c0 + rank * s.units_per_slice, barrier);
      }
      AwaitParity(barrier, 0);
    } else
#endif
    {
      WaitForPrevious();
      StageX<kWarps>(w, p, c0, num_units, reinterpret_cast<uint4*>(staged));
      CommitAsync();
      WaitAsync<0>();
      __syncthreads();
    }

    // first: of a group that the warp before began; or, of a whole tuning, the chunks so far.
    Sums total, first;
    ClearSums(total);
    bool has_first = false, has_last = false;
    const int chunks = kAddsChunks && parts == 1 ? s.chunks : 1;
    int chunk = 0, chunk_end = num_units / chunks;
    int group = first_group + begin / num_units;
    int unit = begin % num_units;
    // Where the piece of quarter 0 lies, in the unit's part of x, that this lane names of a tile:
    // piece lane / 8 of row lane % 8. Rows that are not there have the last row's values: columns
    // of a product do not mix, and theirs are dropped.
    int x[kTiles];
    const auto place_x = [&] {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int row = min(t * 8 + lane % 8, rows - 1);
        x[t] = unit * 2 * half_bytes + row * kAwqXLine + PlaceOfPiece(row, lane / 8) * 16;
      }
    };
    place_x();
    const uint32_t x_begin = SharedAddress(staged);
    const int table = kAwqWordBytes + lane / 4 * 4 - lane * 16;
    int read = ring + lane * 16;
    int length = 0;
    for (int left = end - begin; left > 0; --left) {
      WaitAsync<kStages - 2>();
      // What other lanes copied is there, and what they read of the slot before is no more needed.
      __syncwarp();
      load();
      MultiplyUnit<kMembers, kTiles, kSubs>(shared + read, shared + read + table, x_begin,
                                            half_bytes, x, total);
      read += kStageBytes;
      if (read == write_end) read -= kWarpBytes;
#pragma unroll
      for (int& place : x) place += 2 * half_bytes;
      ++unit;
      ++length;
      if constexpr (kAddsChunks) {
        if (unit == chunk_end && chunks > 1) {
          Out::AddChunk(total, first, chunk == 0, chunk + 1 == chunks);
          if (++chunk == chunks) chunk = 0;
          chunk_end = num_units * (chunk + 1) / chunks;
        }
      }
      if (unit < num_units && left > 1) continue;
      if (kAddsChunks && parts > 1) break;  // the warp's job: it stays where it is
      if (kWhole || length == num_units) {
        Out::DeliverAll(w, p, s, group, total);
        ClearSums(total);
      } else if (group == first_group + begin / num_units) {
        has_first = true;
        ForEachSum<kMembers, kTiles>([&](int m, int t, int i) { first[m][t][i] = total[m][t][i]; });
        ClearSums(total);
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
      if (has_first) Out::StoreShare(first, shares + warp * 2 * kShareFloats);
      if (has_last) Out::StoreShare(total, shares + (warp * 2 + 1) * kShareFloats);
      __syncthreads();
      Out::AddShares(w, p, s, first_group, num_groups, num_units, shares);
    } else if (kAddsChunks && parts > 1) {
      auto* const shares = reinterpret_cast<float*>(shared);
      __syncthreads();
      if (begin < end)
        Out::StoreShare(total, shares + num_groups * parts * warp / kWarps * kShareFloats);
      __syncthreads();
      Out::AddParts(w, p, s, first_group, num_groups, shares);
    }
    if (s.slices == 1 || rows > kTicketRows) return;
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
    ProductKernel(const AwqWeights w, const ProductOperands p, const AwqPlan s,
                  const __grid_constant__ CUtensorMap x_map) {
  extern __shared__ __align__(1024) char shared[];
  P::Run(w, p, s, x_map, shared);
}

}  // namespace skein::cuda::awq
