// What the blocks of a wide AWQ product have to do, and where their sums go.
#pragma once

#include <type_traits>

#include "cuda/kernels/awq_parts.cuh"
#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"

namespace skein::cuda::awq {

inline constexpr int kConsumers = 256;

// How copies see the operands. words: [packed tiles, steps, words of a tile and step]; tables:
// [packed tiles, units, columns]; x: [rows, inputs].
struct WideMaps {
  CUtensorMap words, tables, x;
};

// Steps begin .. end - 1 of a piece. Sums go to the cluster's partial sums `slot`, or become
// outputs where slot is -1.
struct Segment {
  int piece, begin, end, slot;
};

// First step, of all steps of the cut pieces, of a cluster's share.
__device__ __forceinline__ int ShareBegin(const AwqWidePlan& s, int cluster) {
  return static_cast<int>(static_cast<int64_t>(s.cut) * s.steps * cluster / s.clusters);
}
// The cluster whose share has a step.
__device__ __forceinline__ int ShareOwner(const AwqWidePlan& s, int step) {
  return static_cast<int>(((static_cast<int64_t>(step) + 1) * s.clusters - 1) /
                          (static_cast<int64_t>(s.cut) * s.steps));
}

// A cluster's segments: the parts of cut pieces first, at most two of them, so that partial sums
// are on their way long before the end.
class Segments {
 public:
  __device__ __forceinline__ Segments(const AwqWidePlan& s, int cluster)
      : at_(ShareBegin(s, cluster)), share_end_(ShareBegin(s, cluster + 1)), cluster_(cluster) {}

  __device__ __forceinline__ bool Next(const AwqWidePlan& s, Segment* segment) {
    if (at_ < share_end_) {
      segment->piece = at_ / s.steps;
      segment->begin = at_ - segment->piece * s.steps;
      segment->end = min(s.steps, segment->begin + share_end_ - at_);
      segment->slot = slot_++;
      at_ += segment->end - segment->begin;
      return true;
    }
    if (wave_ == s.waves) return false;
    segment->piece = s.cut + wave_ * s.clusters + cluster_;
    segment->begin = 0;
    segment->end = s.steps;
    segment->slot = -1;
    ++wave_;
    return true;
  }

 private:
  int at_;
  const int share_end_, cluster_;
  int slot_ = 0, wave_ = 0;
};

// A block's tile of a piece, and what a warp has of it. A fragment has sixteen columns: eight from
// one place, rows 0-7 of the product's a, and eight from another, rows 8-15. Without SwiGLU they
// are the halves of a packed tile. With it they are the same half of a tile of gate and of one of
// up, so that a thread holds both.
template <int kTile, bool kSwiGlu>
struct WideShape {
  static constexpr AwqWideTile kTiled = kAwqWideTiles[kTile];
  static constexpr int kRows = kTiled.rows;
  static constexpr int kBlocks = kTiled.blocks;
  static constexpr int kColumns = kTiled.columns();
  // Packed tiles in a stage; with SwiGLU the second half is up's.
  static constexpr int kPacked = kColumns / kAwqTileColumns;
  // What a warp reads of them.
  static constexpr int kRead = kSwiGlu ? 2 : kBlocks;
  // Sums of a thread in groups of four: a fragment's for eight rows.
  static constexpr int kQuads = kBlocks * kRows / 8;

  // Of a warp's packed tile: its place in a stage. warp: of 8.
  __device__ static __forceinline__ int Place(int warp, int which) {
    if constexpr (!kSwiGlu) return which * 8 + warp;
    return which * (kPacked / 2) + (kBlocks == 2 ? warp : warp / 2);
  }
  // Rows 0-7 and 8-15 of fragment `block`: from which of the warp's packed tiles, and which half.
  __device__ static __forceinline__ int Which(int block, int eight) {
    return kSwiGlu ? eight : block;
  }
  __device__ static __forceinline__ int Half(int warp, int block, int eight) {
    if constexpr (!kSwiGlu) return eight;
    return kBlocks == 2 ? block : warp % 2;
  }
  // Packed tiles that lie side by side, and the first of the run `run` of column tile
  // `column_tile`. Some may be beyond the last: what is read of them is dropped.
  static constexpr int kRuns = kSwiGlu ? 2 : 1;
  static constexpr int kRun = kPacked / kRuns;
  __device__ static __forceinline__ int FirstPacked(const AwqWeights& w, int column_tile, int run) {
    return column_tile * kRun + run * static_cast<int>(w.out_features) / 2 / kAwqTileColumns;
  }

  // Partial sums of a block: [quads, threads] float4.
  __device__ static __forceinline__ float4* Partial(const AwqOperands& p, int cluster, int slot,
                                                    int rank) {
    return reinterpret_cast<float4*>(p.partial) +
           static_cast<int64_t>((cluster * 2 + slot) * kAwqWideCluster + rank) * kQuads *
               kConsumers;
  }
};

// How outputs are stored. kHalfWide: bfloat16, columns two or four at a time.
enum class OutputKind { kFloat, kHalf, kHalfWide };

template <bool kSwiGlu>
__device__ __forceinline__ OutputKind KindOf(const AwqOperands& p) {
  if (p.out_is_float) return OutputKind::kFloat;
  constexpr int kTogether = kSwiGlu ? 2 : 4;
  return p.out_stride % kTogether == 0 && reinterpret_cast<uint64_t>(p.out) % (2 * kTogether) == 0
             ? OutputKind::kHalfWide
             : OutputKind::kHalf;
}

// Outputs of a warp's fragment, eight rows at a time from row `row`.
template <int kTile, bool kSwiGlu, OutputKind kKind>
class WideOutput {
  using Shape = WideShape<kTile, kSwiGlu>;
  using Value = std::conditional_t<kKind == OutputKind::kFloat, float, __nv_bfloat16>;

 public:
  __device__ __forceinline__ WideOutput(const AwqWeights& w, const AwqOperands& p, int column_tile,
                                        int warp, int block, int row)
      : stride_(p.out_stride) {
    int first, limit;
    if constexpr (kSwiGlu) {
      limit = static_cast<int>(w.out_features) / 2;
      first = column_tile * (Shape::kColumns / 2) + Shape::Place(warp, 0) * kAwqTileColumns +
              Shape::Half(warp, block, 0) * 8;
    } else {
      limit = static_cast<int>(w.out_features);
      first = column_tile * Shape::kColumns + Shape::Place(warp, block) * kAwqTileColumns;
    }
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
      const int column = first + lane / 4 + (kSwiGlu ? 0 : 8 * eight);
      bias_[eight] = p.bias == nullptr || column >= limit
                         ? 0.0f
                         : p.bias[column + (kSwiGlu ? limit * eight : 0)];
    }
    // What this lane stores of eight rows begins at this row and column.
    int lane_row = lane / 4, column = first + lane % 4 * 2;
    if constexpr (kKind != OutputKind::kHalfWide) {
      lane_row = lane % 4 * 2;
      column = first + lane / 4;
    } else if constexpr (!kSwiGlu) {
      column = first + lane % 4 / 2 * 4 + lane % 2 * 8;
    }
    row += lane_row;
    left_ = column < limit ? static_cast<int>(p.rows) - row : 0;
    has_second_ = column + 8 < limit;
    place_ = static_cast<Value*>(p.out) + row * stride_ + column;
  }

  // Sums c of eight rows as the product leaves them: c[2 i + j] of column lane / 4 of eight columns
  // i and row 2 (lane % 4) + j. The next ones are of the eight rows after.
  __device__ __forceinline__ void Put(const float (&c)[4]) {
    const float low[2] = {c[0] + bias_[0], c[1] + bias_[0]};
    const float high[2] = {c[2] + bias_[1], c[3] + bias_[1]};
    if constexpr (kSwiGlu) {
      const float a = Silu(low[0]) * high[0], b = Silu(low[1]) * high[1];
      if constexpr (kKind == OutputKind::kHalfWide) {
        PutPair(PackBFloat16(a, b));
      } else {
        PutEach(place_, a, b);
      }
    } else if constexpr (kKind == OutputKind::kHalfWide) {
      PutFour(PackBFloat16(low[0], low[1]), PackBFloat16(high[0], high[1]));
    } else {
      PutEach(place_, low[0], low[1]);
      if (has_second_) PutEach(place_ + 8, high[0], high[1]);
    }
    place_ += 8 * stride_;
    left_ -= 8;
    // Otherwise addresses of all rows are computed at once, which takes too many registers.
    asm volatile("" : "+l"(place_));
  }

 private:
  // Two rows of a column. Where outputs are float32, eight lanes fill a sector of each row.
  __device__ __forceinline__ void PutEach(Value* place, float a, float b) const {
    if (left_ > 0) place[0] = static_cast<Value>(a);
    if (left_ > 1) place[stride_] = static_cast<Value>(b);
  }

  // bfloat16: transposed, a lane has two columns of row lane / 4.
  __device__ __forceinline__ void PutPair(uint32_t pair) const {
    const uint32_t turned = TransposeMatrix(pair);
    if (left_ > 0) *reinterpret_cast<uint32_t*>(place_) = turned;
  }

  // The same of both halves; neighbours then change theirs, so that each has four columns in a row
  // and four lanes fill a sector.
  __device__ __forceinline__ void PutFour(uint32_t low, uint32_t high) const {
    low = TransposeMatrix(low);
    high = TransposeMatrix(high);
    const bool odd = threadIdx.x % 2 != 0;
    const uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? low : high, 1);
    if (left_ > 0) {
      *reinterpret_cast<uint2*>(place_) = odd ? make_uint2(got, high) : make_uint2(low, got);
    }
  }

  Value* place_;
  const int64_t stride_;
  int left_;  // rows from there; none where the column is none
  bool has_second_;
  float bias_[2];
};

// Partial sums of the cut pieces, share after share, to outputs. Grid (quads, column tiles of a
// pair, pieces).
template <int kTile, bool kSwiGlu>
__global__ void __launch_bounds__(kConsumers)
    WideSumKernel(const AwqWeights w, const AwqOperands p, const AwqWidePlan s) {
  using Shape = WideShape<kTile, kSwiGlu>;
  LetNextStart();
  WaitForPrevious();
  const int quad = static_cast<int>(blockIdx.x);
  const int rank = static_cast<int>(blockIdx.y);
  const int piece = static_cast<int>(blockIdx.z);
  const int column_tile = piece / s.row_tiles * kAwqWideCluster + rank;
  const int row = piece % s.row_tiles * Shape::kRows + quad % (Shape::kRows / 8) * 8;
  if (row >= p.rows) return;
  const int last = ShareOwner(s, (piece + 1) * s.steps - 1);
  float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
  for (int cluster = ShareOwner(s, piece * s.steps); cluster <= last; ++cluster) {
    // A share that began with the piece before has this one second.
    const int slot = ShareBegin(s, cluster) < piece * s.steps ? 1 : 0;
    // Past the first-level cache: other blocks wrote it.
    const float4 part =
        __ldcg(Shape::Partial(p, cluster, slot, rank) + quad * kConsumers + threadIdx.x);
    c[0] += part.x;
    c[1] += part.y;
    c[2] += part.z;
    c[3] += part.w;
  }
  const auto put = [&]<OutputKind kKind>() {
    WideOutput<kTile, kSwiGlu, kKind>(w, p, column_tile, static_cast<int>(threadIdx.x) / 32,
                                      quad / (Shape::kRows / 8), row)
        .Put(c);
  };
  switch (KindOf<kSwiGlu>(p)) {
    case OutputKind::kFloat:
      return put.template operator()<OutputKind::kFloat>();
    case OutputKind::kHalf:
      return put.template operator()<OutputKind::kHalf>();
    case OutputKind::kHalfWide:
      return put.template operator()<OutputKind::kHalfWide>();
  }
}

}  // namespace skein::cuda::awq
