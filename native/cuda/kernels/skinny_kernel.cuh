// The kernel of products of up to 8 rows with a dense weight, bfloat16 or float8, at the speed at
// which memory gives the weight. Of float8, pairs of codes are dealt with like one bfloat16, up to
// the multiplication: columns count pairs.
//
// A block takes a run of consecutive outputs, all runs equally long so that every multiprocessor
// reads as much; it goes over them in passes of up to 64 weight rows. Its warps share the columns
// of the weight: a warp takes a unit of 32 columns of all the pass's rows at a time. At the end of
// a pass one warp adds the warps' sums, in a fixed order, while the others go on: a warp waits for
// the slowest only when it is a whole pass ahead, so that loads stay under way.
//
// The ring fills in portions. Of bfloat16 a warp's columns are a run, and the memory is asked for
// 256 bytes of a row at a time: with both, a layer of two ranks takes 4 % less than by lines of 128
// bytes that warps take in turns. Of float8, whose rows are half as long, each of the two costs
// 1 to 2 % of a layer of one row at one rank, and about 1 % at two.
//
// Tensor cores: weights are the 16 rows of mma.m16n8k16, rows of x its 8 columns. A lane takes 16
// contiguous bytes (8 columns) of a weight row and of a row of x; since both sides give the same
// columns to the same places of a fragment, their order within 32 columns does not matter.
//
// What a lane copies, that same lane consumes, so the ring in shared memory in which weights wait
// (a number of units a warp) needs no barrier. The ring is filled before WaitForPrevious(): weights
// are never written while steps run.
#pragma once

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/shared_memory.cuh"
#include "cuda/kernels/skinny_primitives.cuh"
#include "cuda/kernels/vectors.cuh"

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
  const float* x_scales;       // of float8: [rows]
  const float* weight_scales;  // a weight row each
  const void* bias;
  void* out;
  int64_t out_stride;
  int32_t rows, k, outputs;
  // Outputs of a block, and of a pass.
  int32_t run, step;
  // Outputs of a tile: 16, or 8 where its rows are 8 of gate and 8 of up. The output of row g + 8
  // is that of row g plus `half`: 8, or 0.
  int32_t tile_outputs, half;
  // Units of the warp with the most. Of float8, warps take turns by 1 << pair_shift units.
  int32_t warp_units, pair_shift;
  bool out_float, swiglu;
};

// Shared memory: barriers, the warps' sums, the ring. The most is what sm_80 gives a block, or, of
// float8, which only Hopper has here, what that does; the least, over half of what any device has:
// two blocks never fit on one multiprocessor. Where they do (a ring of 96 KB did), the next
// product's blocks start on the multiprocessors on which this one ends first, two on some and none
// on others, and its equal runs then take twice as long: a step of the 38 B model had 16.2 ms of
// kernels and took 23.0.
constexpr int kMostSharedBytes = 163 << 10;
constexpr int kMostFloat8SharedBytes = 227 << 10;
constexpr int kLeastSharedBytes = 120 << 10;
static_assert(kLeastSharedBytes > (228 << 10) / 2);

template <int kTileCount, bool kIsFloat8>
struct Shapes {
  static constexpr int kTiles = kTileCount;
  static constexpr bool kFloat8 = kIsFloat8;
  static constexpr int kSums = kTiles * 32;             // float4 of a warp
  static constexpr int kSlot = (kTiles * 2 + 1) * 512;  // bytes of a unit: weights, then x
  static constexpr int kMost = kFloat8 ? kMostFloat8SharedBytes : kMostSharedBytes;
  // The ring begins at a whole line: copies of two neighbouring lanes make one of 32 bytes. (It
  // began 16 bytes after one for a while, and gate and up took 151 us instead of 131.)
  static constexpr int kRing = 128 + kWarps * kSums * 16;
  static constexpr int kDepth = (kMost - kRing) / (kWarps * kSlot);
  // Units of each warp that are under way while the ring fills: 64 KB at most, of float8 48. What a
  // multiprocessor asks for beyond what it can have under way stops its other loads and stores,
  // too: those of the exchange or the attention beside it, which this block waits for.
  static constexpr int kFirstUnits = (kFloat8 ? 6 : 8) / kTiles;
  // What a copy brings into the L2 cache.
  static constexpr int kLine = kFloat8 ? 128 : 256;
  static constexpr int kBytes = kRing + kWarps * kDepth * kSlot > kLeastSharedBytes
                                    ? kRing + kWarps* kDepth* kSlot
                                    : kLeastSharedBytes;
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

// First column of the warp's unit.
template <bool kFloat8>
__device__ __forceinline__ int UnitColumn(const Arguments& p, int unit, int warp) {
  if constexpr (!kFloat8) return (warp * p.warp_units + unit) * kUnitColumns;
  const int turn = unit >> p.pair_shift, within = unit & ((1 << p.pair_shift) - 1);
  return (((turn * kWarps + warp) << p.pair_shift) + within) * kUnitColumns;
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

// A lane's four sums of a tile: rows 2t and 2t + 1 of x for its output, then for that of row g + 8
// of the tile.
template <bool kFloat8>
__device__ __forceinline__ void PutTile(const Arguments& p, int first, int limit, int tile,
                                        int lane, const float4& v) {
  const int output = tile * p.tile_outputs + (lane >> 2);
  const int row = (lane & 3) * 2;
  float pairs[2][2] = {{v.x, v.z}, {v.y, v.w}};
  float scales[2] = {};
  if constexpr (kFloat8) {
    const int second = p.swiglu ? p.outputs : 8;
    const float* place = p.weight_scales + first + output;
    if (output < limit) scales[0] = place[0];
    if (output + (p.swiglu ? 0 : 8) < limit) scales[1] = place[second];
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (row + i >= p.rows) break;
    if constexpr (kFloat8) {
      const float scale = p.x_scales[row + i];
      pairs[i][0] *= scales[0] * scale;
      pairs[i][1] *= scales[1] * scale;
    }
    if (p.swiglu) {
      if (output < limit) Put(p, row + i, first + output, Silu(pairs[i][0]) * pairs[i][1]);
    } else {
      if (output < limit) Put(p, row + i, first + output, pairs[i][0]);
      if (output + 8 < limit) Put(p, row + i, first + output + 8, pairs[i][1]);
    }
  }
}

// How the warps bring their sums of a pass together.
template <typename S>
struct Sums {
  // Barriers: all warps have put their sums; they have been read.
  uint32_t full, free;
  float4* warps;  // [kWarps][kSums]

  __device__ explicit Sums(float4* shared)
      : full(SharedAddress(shared)), free(full + 8), warps(shared + 8) {
    if (threadIdx.x == 0) {
      InitBarrier(full, kThreads);
      InitBarrier(free, 32);
    }
    __syncthreads();
  }

  // `limit`: the outputs of the pass, of which `first` is the first.
  __device__ void Finish(const Arguments& p, const float (&sums)[S::kTiles][4], int pass, int first,
                         int limit, bool is_last) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (pass > 0) AwaitPhase(free, pass - 1);
#pragma unroll
    for (int a = 0; a < S::kTiles; ++a) {
      warps[warp * S::kSums + a * 32 + lane] =
          make_float4(sums[a][0], sums[a][1], sums[a][2], sums[a][3]);
    }
    // Every lane for itself: compute-sanitizer sees no order in what a lane wrote, __syncwarp() and
    // another lane's arrival, and reports a race.
    Arrive(full);
    // Nothing runs beside the last sums: each warp adds those of a tile.
    if (!is_last && warp != pass % kWarps) return;
    if (is_last && warp >= S::kTiles) return;
    AwaitPhase(full, pass);
    for (int a = is_last ? warp : 0; a < S::kTiles; a += is_last ? kWarps : 1) {
      float4 sum = warps[a * 32 + lane];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) {
        const float4 part = warps[w * S::kSums + a * 32 + lane];
        sum = make_float4(sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w);
      }
      PutTile<S::kFloat8>(p, first, limit, a, lane, sum);
    }
    if (!is_last) Arrive(free);
  }
};

template <bool kFloat8>
__device__ __forceinline__ void Multiply(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  if constexpr (kFloat8) {
    MultiplyFloat8(sums, a, b0, b1);
  } else {
    MultiplyAccumulate(sums, a, b0, b1);
  }
}

template <typename S>
__global__ void __launch_bounds__(kThreads, 1) SkinnyKernel(const Arguments p) {
  constexpr int kTiles = S::kTiles, kDepth = S::kDepth;
  extern __shared__ float4 shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int first = static_cast<int>(blockIdx.x) * p.run;
  const int count = min(p.run, p.outputs - first);
  const int passes = (count + p.step - 1) / p.step;
  // The lane's places of a slot lie 512 bytes apart, the slots of a warp one after the other.
  const uint32_t ring = SharedAddress(shared) + S::kRing + warp * kDepth * S::kSlot + lane * 16;
  constexpr int kX = 2 * kTiles * 512;  // x in a slot

  Cursor next{};
  next.SetPass(p, first, count, passes, lane);
  const auto advance = [&] {
    if (++next.unit < p.warp_units) return;
    next.unit = 0;
    ++next.pass;
    next.SetPass(p, first, count, passes, lane);
  };
  // Begins to copy the weights of the cursor's unit.
  const auto issue = [&](uint32_t slot) {
    const int column = UnitColumn<S::kFloat8>(p, next.unit, warp);
    const bool in_columns = column + (lane & 3) * 8 < p.k;
#pragma unroll
    for (int a = 0; a < kTiles; ++a) {
      const __nv_bfloat16* place = next.row + a * p.tile_outputs * p.stride + column;
      CopyWeights<S::kLine>(slot + 2 * a * 512, place,
                            in_columns && a * p.tile_outputs < next.limit);
      CopyWeights<S::kLine>(slot + (2 * a + 1) * 512, place + p.second,
                            in_columns && a * p.tile_outputs + p.half < next.limit);
    }
  };
  // The lane's part of x. Rows that do not exist keep the zeros of the start.
  const bool is_row = (lane >> 2) < p.rows;
  const auto x_column = [&](int unit) {
    return UnitColumn<S::kFloat8>(p, unit, warp) + (lane & 3) * 8;
  };
  const __nv_bfloat16* x_row = p.x + (lane >> 2) * p.x_stride;

#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    if (d >= S::kFirstUnits) Wait<S::kFirstUnits - 1>();
    issue(ring + d * S::kSlot);
    Commit();
    // Not behind the last portion.
    if (d == 0) LetNextStart();
    advance();
  }
  Sums<S> together(shared);
  WaitForPrevious();
  // The first units' x comes by plain loads: its copies would be in groups behind all the ring's.
  int unit = 0;
#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    uint4 v = make_uint4(0, 0, 0, 0);
    const int column = x_column(unit);
    if (is_row && column < p.k) v = *reinterpret_cast<const uint4*>(x_row + column);
    StoreShared(ring + d * S::kSlot + kX, v);
    if (++unit == p.warp_units) unit = 0;
  }
  int slot = 0;
  for (int pass = 0; pass < passes; ++pass) {
    float sums[kTiles][4] = {};
    for (int u = 0; u < p.warp_units; ++u) {
      const uint32_t place = ring + slot * S::kSlot;
      Wait<kDepth - 1>();
      const uint4 x = LoadShared(place + kX);
#pragma unroll
      for (int a = 0; a < kTiles; ++a) {
        const uint4 low = LoadShared(place + 2 * a * 512);
        const uint4 high = LoadShared(place + (2 * a + 1) * 512);
        const uint32_t left[4] = {low.x, high.x, low.y, high.y};
        const uint32_t right[4] = {low.z, high.z, low.w, high.w};
        Multiply<S::kFloat8>(sums[a], left, x.x, x.y);
        Multiply<S::kFloat8>(sums[a], right, x.z, x.w);
      }
      issue(place);
      const int column = x_column(next.unit);
      if (is_row) CopyX(place + kX, x_row + column, column < p.k);
      Commit();
      advance();
      if (++slot == kDepth) slot = 0;
    }
    const int start = pass * p.step;
    together.Finish(p, sums, pass, first + start, min(p.step, count - start), pass + 1 == passes);
  }
  Wait<0>();
}

}  // namespace skein::cuda::skinny
