// The kernel of products of few rows with a dense bfloat16 weight, at the speed at which memory
// gives the weight.
//
// A group of 1, 2 or 4 blocks (a cluster) takes a run of consecutive outputs, all runs equally long
// so that every multiprocessor reads as much; it goes over them in passes of up to 80 weight rows.
// The blocks of a cluster and the warps of a block share the columns of the weight: a warp takes a
// unit of 32 columns of all the pass's rows at a time. At the end of a pass one warp adds the
// warps' sums, then the blocks', in a fixed order, while the others go on: a warp waits for the
// slowest only when it is a whole pass ahead, so that loads stay under way.
//
// Tensor cores: weights are the 16 rows of mma.m16n8k16, rows of x its 8 columns. A lane takes 16
// contiguous bytes (8 columns) of a weight row and of a row of x; since both sides give the same
// columns to the same places of a fragment, their order within 32 columns does not matter.
//
// What a lane copies, that same lane consumes, so the ring in which weights wait (kDepth units a
// warp, in shared memory or in registers) needs no barrier. The ring is filled before
// WaitForPrevious(): weights are never written while steps run.
#pragma once

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/skinny_primitives.cuh"

namespace skein::cuda::skinny {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kUnitColumns = 32;

struct Arguments {
  const __nv_bfloat16* weight;
  // Elements from a weight row to the next; from a tile's row g to its row g + 8.
  int64_t stride, second;
  const __nv_bfloat16* x;
  int64_t x_stride;
  const void* bias;
  void* out;
  int64_t out_stride;
  int32_t rows, k, outputs;
  // Outputs of a group, and of a pass.
  int32_t run, step;
  // Outputs of a tile: 16, or 8 where its rows are 8 of gate and 8 of up. The output of row g + 8
  // is that of row g plus `half`: 8, or 0.
  int32_t tile_outputs, half;
  // Columns of a block, in units. Warps take turns by 1 << pair_shift units.
  int32_t block_units, pair_shift;
  bool out_float, swiglu;
};

// Walks over the units of all passes, ahead of the sums.
struct Cursor {
  const __nv_bfloat16* row;  // this lane's first row of the pass, at its first column of a unit
  int32_t limit;             // outputs of the pass from this lane's first on; none: negative
  int32_t unit, pass;

  __device__ void SetPass(const Arguments& p, int first, int count, int passes, int lane) {
    const int start = pass * p.step;
    limit = pass < passes ? min(p.step, count - start) - (lane >> 2) : -1;
    row = p.weight + (first + start + (lane >> 2)) * p.stride + (lane & 3) * 8;
  }
};

// First column of the warp's unit, counted from the block's first one.
__device__ __forceinline__ int UnitColumn(const Arguments& p, int unit, int warp) {
  const int turn = unit >> p.pair_shift, within = unit & ((1 << p.pair_shift) - 1);
  return ((((turn * kWarps + warp) << p.pair_shift) + within)) * kUnitColumns;
}

__device__ __forceinline__ void Put(const Arguments& p, int row, int output, float value) {
  const int64_t place = row * p.out_stride + output;
  if (p.out_float) {
    if (p.bias != nullptr) value += static_cast<const float*>(p.bias)[output];
    static_cast<float*>(p.out)[place] = value;
  } else {
    if (p.bias != nullptr) {
      value += __bfloat162float(static_cast<const __nv_bfloat16*>(p.bias)[output]);
    }
    static_cast<__nv_bfloat16*>(p.out)[place] = __float2bfloat16_rn(value);
  }
}

// A lane's four sums of a fragment: rows 2t and 2t + 1 of x for its output, then for that of row
// g + 8 of the tile.
__device__ __forceinline__ void PutFragment(const Arguments& p, int first, int limit, int tile,
                                            int column_tile, int lane, const float4& v) {
  const int output = tile * p.tile_outputs + (lane >> 2);
  const int row = column_tile * 8 + (lane & 3) * 2;
  const float pairs[2][2] = {{v.x, v.z}, {v.y, v.w}};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (row + i >= p.rows) break;
    if (p.swiglu) {
      const float gate = pairs[i][0];
      if (output < limit) {
        Put(p, row + i, first + output, gate / (1.0f + __expf(-gate)) * pairs[i][1]);
      }
    } else {
      if (output < limit) Put(p, row + i, first + output, pairs[i][0]);
      if (output + 8 < limit) Put(p, row + i, first + output + 8, pairs[i][1]);
    }
  }
}

// What lies in shared memory before the ring: barriers, the warps' sums, and where there is a
// cluster the blocks' sums for two passes.
template <int kTiles, int kColumnTiles>
struct Shapes {
  static constexpr int kSums = kTiles * kColumnTiles * 32;  // float4 of a warp
  static constexpr int kSlot = kTiles * 2 + kColumnTiles;   // 16 bytes a lane
  __host__ __device__ static constexpr size_t SumBytes(int cluster) {
    return 32 + (static_cast<size_t>(kWarps) * kSums + (cluster > 1 ? 2 * kSums : 0)) * 16;
  }
};

// How the warps, and the blocks of a cluster, bring their sums together.
template <int kTiles, int kColumnTiles>
struct Sums {
  using S = Shapes<kTiles, kColumnTiles>;
  // Barriers: all warps have put their sums; they have been read; all blocks have sent theirs, for
  // even and odd passes.
  uint32_t full, free, received;
  float4* warps;  // [kWarps][kSums]
  float4* inbox;  // [2][ranks][kSums / ranks]: element e belongs to block e % ranks
  int ranks, rank;

  __device__ explicit Sums(float4* shared) : ranks(ClusterSize()), rank(ClusterRank()) {
    full = SharedAddress(shared);
    free = full + 8;
    received = full + 16;
    warps = shared + 2;
    inbox = warps + kWarps * S::kSums;
    if (threadIdx.x == 0) {
      InitBarrier(full, kWarps);
      InitBarrier(free, 1);
      InitBarrier(received, 32 * ranks);
      InitBarrier(received + 8, 32 * ranks);
    }
    if (ranks == 1) {
      __syncthreads();
    } else {
      ClusterBarrier();
    }
  }

  // `limit`: the outputs of the pass, of which `first` is the first.
  __device__ void Finish(const Arguments& p, const float (&sums)[kTiles][kColumnTiles][4], int pass,
                         int first, int limit) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (pass > 0) AwaitPhase(free, pass - 1);
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
        warps[warp * S::kSums + (a * kColumnTiles + c) * 32 + lane] =
            make_float4(sums[a][c][0], sums[a][c][1], sums[a][c][2], sums[a][c][3]);
      }
    }
    __syncwarp();
    if (lane == 0) Arrive(full);
    if (warp != pass % kWarps) return;
    AwaitPhase(full, pass);
    const int box = pass % 2 * S::kSums, share = S::kSums / ranks;
    for (int e = lane; e < S::kSums; e += 32) {
      float4 sum = warps[e];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) Add(sum, warps[w * S::kSums + e]);
      if (ranks == 1) {
        Put(p, first, limit, e, sum);
      } else {
        StoreInBlock(PlaceInBlock(SharedAddress(inbox + box + rank * share + e / ranks), e % ranks),
                     sum);
      }
    }
    __syncwarp();
    if (lane == 0) Arrive(free);
    if (ranks == 1) return;
    // The pass after the next one comes to the same boxes. Its sums are sent when all warps of the
    // sender, this one too, have gone through the next pass, whose sums no block sends before all
    // its warps, the one that reads these boxes too, are done with this pass.
    const uint32_t barrier = received + pass % 2 * 8;
    for (int r = 0; r < ranks; ++r) ArriveInBlock(PlaceInBlock(barrier, r));
    AwaitPhase(barrier, pass / 2);
    for (int e = lane; e < share; e += 32) {
      float4 sum = inbox[box + e];
      for (int r = 1; r < ranks; ++r) Add(sum, inbox[box + r * share + e]);
      Put(p, first, limit, e * ranks + rank, sum);
    }
  }

  __device__ static void Put(const Arguments& p, int first, int limit, int e, const float4& sum) {
    const int fragment = e / 32;
    PutFragment(p, first, limit, fragment / kColumnTiles, fragment % kColumnTiles, e % 32, sum);
  }
};

// Few registers where the ring is in shared memory: the next product's block is to fit beside.
constexpr int BlocksPerProcessor(int sums, bool in_shared) {
  return in_shared && sums <= 12 ? 2 : 1;
}

template <int kTiles, int kColumnTiles, int kDepth, bool kInShared>
__global__ void __launch_bounds__(kThreads, BlocksPerProcessor(kTiles* kColumnTiles, kInShared))
    SkinnyKernel(const Arguments p) {
  using S = Shapes<kTiles, kColumnTiles>;
  extern __shared__ float4 shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int ranks = ClusterSize(), rank = ClusterRank();
  const int first = static_cast<int>(blockIdx.x) / ranks * p.run;
  const int count = min(p.run, p.outputs - first);
  const int passes = (count + p.step - 1) / p.step;
  const int begin = rank * p.block_units * kUnitColumns;
  const int end = min(p.k, begin + p.block_units * kUnitColumns);
  // Turns of the warp with the most; the registers' ring goes round a whole number of times.
  const int per_turn = kWarps << p.pair_shift;
  int units = (p.block_units + per_turn - 1) / per_turn << p.pair_shift;
  if constexpr (!kInShared) units = (units + kDepth - 1) / kDepth * kDepth;

  Cursor next{};
  next.SetPass(p, first, count, passes, lane);
  const auto advance = [&] {
    if (++next.unit < units) return;
    next.unit = 0;
    ++next.pass;
    next.SetPass(p, first, count, passes, lane);
  };
  // Calls load(i, place, valid) for the 2 * kTiles pieces of the cursor's unit.
  const auto for_pieces = [&](auto&& load) {
    const int column = begin + UnitColumn(p, next.unit, warp);
    const bool in_columns = column + (lane & 3) * 8 < end;
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
      const __nv_bfloat16* place = next.row + a * p.tile_outputs * p.stride + column;
      load(2 * a, place, in_columns && a * p.tile_outputs < next.limit);
      load(2 * a + 1, place + p.second, in_columns && a * p.tile_outputs + p.half < next.limit);
    }
  };
  // The same for the rows of x in a unit.
  const auto for_x = [&](int unit, auto&& load) {
    const int column = begin + UnitColumn(p, unit, warp) + (lane & 3) * 8;
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
      const int row = c * 8 + (lane >> 2);
      load(c, p.x + row * p.x_stride + column, row < p.rows, column < end);
    }
  };
  float sums[kTiles][kColumnTiles][4];
  const auto clear = [&] {
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[a][c][i] = 0.0f;
      }
    }
  };
  const auto multiply = [&](int a, const uint4& low, const uint4& high, const uint4* x) {
    const uint32_t left[4] = {low.x, high.x, low.y, high.y};
    const uint32_t right[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
    for (int c = 0; c < kColumnTiles; ++c) {
      MultiplyAccumulate(sums[a][c], left, x[c].x, x[c].y);
      MultiplyAccumulate(sums[a][c], right, x[c].z, x[c].w);
    }
  };
  const auto finish = [&](Sums<kTiles, kColumnTiles>& together, int pass) {
    const int start = pass * p.step;
    together.Finish(p, sums, pass, first + start, min(p.step, count - start));
  };

  if constexpr (kInShared) {
    // The lane's places of a slot lie 512 bytes apart, the slots of a warp one after the other.
    const uint32_t ring = SharedAddress(shared) + static_cast<uint32_t>(S::SumBytes(ranks)) +
                          static_cast<uint32_t>(warp) * kDepth * S::kSlot * 512 + lane * 16;
    const auto issue = [&](uint32_t slot) {
      for_pieces([&](int i, const __nv_bfloat16* place, bool valid) {
        CopyWeights(slot + i * 512, place, valid);
      });
    };
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      issue(ring + d * S::kSlot * 512);
      Commit();
      advance();
    }
    Sums<kTiles, kColumnTiles> together(shared);
    LetNextStart();
    WaitForPrevious();
    // The first units' x comes by plain loads: its copies would be in groups behind all the ring's.
    int unit = 0;
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      for_x(unit, [&](int c, const __nv_bfloat16* place, bool is_row, bool in_columns) {
        StoreShared(ring + (d * S::kSlot + 2 * kTiles + c) * 512,
                    LoadX(place, is_row && in_columns));
      });
      if (++unit == units) unit = 0;
    }
    int slot = 0;
    for (int pass = 0; pass < passes; ++pass) {
      clear();
      for (int u = 0; u < units; ++u) {
        const uint32_t place = ring + slot * S::kSlot * 512;
        Wait<kDepth - 1>();
        uint4 x[kColumnTiles];
#pragma unroll
        for (int c = 0; c < kColumnTiles; ++c) x[c] = LoadShared(place + (2 * kTiles + c) * 512);
#pragma unroll
        for (int a = 0; a < kTiles; ++a) {
          multiply(a, LoadShared(place + 2 * a * 512), LoadShared(place + (2 * a + 1) * 512), x);
        }
        issue(place);
        // Rows of x that do not exist keep the zeros of the start.
        for_x(next.unit, [&](int c, const __nv_bfloat16* from, bool is_row, bool in_columns) {
          if (is_row) CopyX(place + (2 * kTiles + c) * 512, from, in_columns);
        });
        Commit();
        advance();
        if (++slot == kDepth) slot = 0;
      }
      finish(together, pass);
    }
    Wait<0>();
  } else {
    uint4 ring[kDepth][2 * kTiles];
    const auto issue = [&](uint4* slot) {
      for_pieces([&](int i, const __nv_bfloat16* place, bool valid) {
        slot[i] = LoadWeights(place, valid);
      });
    };
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      issue(ring[d]);
      advance();
    }
    Sums<kTiles, kColumnTiles> together(shared);
    LetNextStart();
    WaitForPrevious();
    uint4 x[kColumnTiles], next_x[kColumnTiles];
    const auto load_x = [&](int unit) {
      for_x(unit, [&](int c, const __nv_bfloat16* place, bool is_row, bool in_columns) {
        next_x[c] = LoadX(place, is_row && in_columns);
      });
    };
    load_x(0);
    for (int pass = 0; pass < passes; ++pass) {
      clear();
      for (int u = 0; u < units; u += kDepth) {
#pragma unroll
        for (int d = 0; d < kDepth; ++d) {
#pragma unroll
          for (int c = 0; c < kColumnTiles; ++c) x[c] = next_x[c];
          load_x(u + d + 1 == units ? 0 : u + d + 1);
#pragma unroll
          for (int a = 0; a < kTiles; ++a) multiply(a, ring[d][2 * a], ring[d][2 * a + 1], x);
          issue(ring[d]);
          advance();
        }
      }
      finish(together, pass);
    }
  }
  // A block's shared memory lives until the others have read it.
  if (ranks > 1) ClusterBarrier();
}

}  // namespace skein::cuda::skinny
