// What the blocks of a wide product have to do, and where their sums go.
#pragma once

#include <type_traits>

#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/mma.cuh"
#include "cuda/kernels/vectors.cuh"
#include "cuda/kernels/wide.h"

namespace skein::cuda::wide {

// Threads that multiply: two warpgroups.
inline constexpr int kConsumers = 256;

// Steps begin .. end - 1 of a piece. Sums go to the partial sums `slot`, or become outputs where
// slot is -1.
struct Segment {
  int piece, begin, end, slot;
};

// First step, of all steps of the cut pieces, of a share; cluster i has share i. Products of the
// three numbers are far below 2^31.
__device__ __forceinline__ int ShareBegin(const WidePlan& s, int share) {
  return s.cut * s.steps * min(share, s.shares) / s.shares;
}
// The share that has a step.
__device__ __forceinline__ int ShareOwner(const WidePlan& s, int step) {
  return ((step + 1) * s.shares - 1) / (s.cut * s.steps);
}

// Whether a share is a chunk; its slot has its number.
__device__ __forceinline__ bool SharesChunks(const WidePlan& s) {
  return s.chunks > 1 && s.shares > s.cut;
}
__device__ __forceinline__ int ChunkBegin(const WidePlan& s, int chunk) {
  return s.steps / s.grain * chunk / s.chunks * s.grain;
}

// A cluster's segments: the parts of cut pieces first (at most two of them, or chunks), so that
// partial sums are on their way long before the end.
class Segments {
 public:
  __device__ __forceinline__ Segments(const WidePlan& s, int cluster) : cluster_(cluster) {
    if (SharesChunks(s)) {
      share_ = cluster;
    } else {
      at_ = ShareBegin(s, cluster);
      share_end_ = ShareBegin(s, cluster + 1);
    }
  }

  __device__ __forceinline__ bool Next(const WidePlan& s, Segment* segment) {
    if (SharesChunks(s) && share_ < s.shares) {
      // All pieces are at the same chunk at the same time.
      const int chunk = share_ / s.cut;
      segment->piece = share_ - chunk * s.cut;
      segment->begin = ChunkBegin(s, chunk);
      segment->end = ChunkBegin(s, chunk + 1);
      segment->slot = share_;
      share_ += s.clusters;
      return true;
    }
    if (at_ < share_end_) {
      segment->piece = at_ / s.steps;
      segment->begin = at_ - segment->piece * s.steps;
      segment->end = min(s.steps, segment->begin + share_end_ - at_);
      segment->slot = s.shares == s.cut ? -1 : 2 * cluster_ + slots_++;
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
  const int cluster_;
  int at_ = 0, share_end_ = 0;
  int slots_ = 0, wave_ = 0;
  int share_ = 0;  // where they are chunks: the next
};

// A block's tile of a piece. What a warp has of it are `kBlocks` fragments of sixteen columns:
// eight in rows 0-7 of the product's a, and eight in rows 8-15. Without SwiGLU they follow one
// another. With it they are the same columns of gate and of up, so that a thread holds both. Which
// columns these are is for those who derive from this to say:
//   FirstColumn(warp, block): the fragment's first output, of the tile's kOutputs
template <int kTile, bool kWithSwiGlu>
struct WideShape {
  static constexpr WideTile kTiled = kWideTiles[kTile];
  static constexpr bool kSwiGlu = kWithSwiGlu;
  static constexpr bool kIsScaled = false;  // by the operands' scales
  static constexpr bool kGelu = false;      // outputs are that of the sums
  static constexpr bool kIsTight = false;   // with registers
  static constexpr int kRows = kTiled.rows;
  static constexpr int kBlocks = kTiled.blocks;
  static constexpr int kColumns = kTiled.columns();
  static constexpr bool kSumsChunks = kTiled.sums_chunks();
  static constexpr int kOutputs = kSwiGlu ? kColumns / 2 : kColumns;
  // Sums of a thread in groups of four: a fragment's for eight rows.
  static constexpr int kQuads = kBlocks * kRows / 8;

  // Partial sums of a block: [quads, threads] float4.
  __device__ static __forceinline__ float4* Partial(const ProductOperands& p, int slot, int rank) {
    return reinterpret_cast<float4*>(p.partial) +
           static_cast<int64_t>(slot * kWideCluster + rank) * kQuads * kConsumers;
  }
};

// How outputs are stored. kAdded: to float32 values that are there. kHalfWide: bfloat16, columns
// two or four at a time.
enum class OutputKind { kFloat, kAdded, kHalf, kHalfWide };

template <typename Shape>
__device__ __forceinline__ OutputKind KindOf(const ProductOperands& p) {
  if (p.adds) return OutputKind::kAdded;
  if (p.out_is_float) return OutputKind::kFloat;
  return StoresTogether(p, Shape::kSwiGlu ? 2 : 4) ? OutputKind::kHalfWide : OutputKind::kHalf;
}

// Outputs of a warp's fragment, eight rows at a time from row `row`.
template <typename Shape, OutputKind kKind>
class WideOutput {
  static constexpr bool kSwiGlu = Shape::kSwiGlu;
  static constexpr bool kIsScaled = Shape::kIsScaled;
  static constexpr bool kIsFloat = kKind == OutputKind::kFloat || kKind == OutputKind::kAdded;
  using Value = std::conditional_t<kIsFloat, float, __nv_bfloat16>;

 public:
  __device__ __forceinline__ WideOutput(int64_t out_features, const ProductOperands& p,
                                        int column_tile, int warp, int block, int row)
      : stride_(p.out_stride) {
    const int limit = static_cast<int>(kSwiGlu ? out_features / 2 : out_features);
    const int first = column_tile * Shape::kOutputs + Shape::FirstColumn(warp, block);
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
      const int column = first + lane / 4 + (kSwiGlu ? 0 : 8 * eight);
      bias_[eight] = p.bias == nullptr || column >= limit
                         ? 0.0f
                         : p.bias[column + (kSwiGlu ? limit * eight : 0)];
      if constexpr (kIsScaled) {
        weight_scale_[eight] =
            column >= limit ? 0.0f : p.weight_scales[column + (kSwiGlu ? limit * eight : 0)];
      }
      if constexpr (kKind == OutputKind::kAdded) {
        scale_[eight] = p.scale == nullptr || column >= limit ? 1.0f : p.scale[column];
      }
    }
    if constexpr (kIsScaled) {
      x_scales_ = reinterpret_cast<const float2*>(p.x_scales + row + lane % 4 * 2);
      next_x_scales_ = *x_scales_;
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

  // Sums of 8 kCount rows as the product leaves them: c[2 i + j], of the first eight, is of column
  // lane / 4 of eight columns i and row 2 (lane % 4) + j.
  template <int kCount>
  __device__ __forceinline__ void Put(const float (&c)[4 * kCount]) {
    // Values that are added to are asked for well ahead, as far as there are registers for them.
    constexpr int kMost = kCount % 8 == 0 && !Shape::kIsTight ? 8 : kCount % 4 == 0 ? 4 : 1;
    constexpr int kAhead = kKind == OutputKind::kAdded ? kMost : 1;
#pragma unroll
    for (int i = 0; i < kCount; i += kAhead) {
      float old[kAhead][4];
      if constexpr (kKind == OutputKind::kAdded) {
#pragma unroll
        for (int j = 0; j < kAhead; ++j) Load(j, old[j]);
      }
#pragma unroll
      for (int j = 0; j < kAhead; ++j) PutEight(c + 4 * (i + j), old[j]);
    }
  }

 private:
  __device__ __forceinline__ void Load(int eights, float (&old)[4]) const {
    const float* place = place_ + eights * 8 * stride_;
    const int left = left_ - eights * 8;
    // Past the first-level cache: other kernels write them.
    old[0] = left > 0 ? __ldcg(place) : 0.0f;
    old[1] = left > 1 ? __ldcg(place + stride_) : 0.0f;
    old[2] = left > 0 && has_second_ ? __ldcg(place + 8) : 0.0f;
    old[3] = left > 1 && has_second_ ? __ldcg(place + stride_ + 8) : 0.0f;
  }

  __device__ __forceinline__ void PutEight(const float* c, [[maybe_unused]] const float (&old)[4]) {
    float low[2] = {c[0], c[1]}, high[2] = {c[2], c[3]};
    if constexpr (kIsScaled) {
      // Those of the next eight rows are on their way while these are stored.
      const float2 rows = next_x_scales_;
      x_scales_ += 4;
      next_x_scales_ = *x_scales_;
      low[0] *= weight_scale_[0] * rows.x, low[1] *= weight_scale_[0] * rows.y;
      high[0] *= weight_scale_[1] * rows.x, high[1] *= weight_scale_[1] * rows.y;
    }
    low[0] += bias_[0], low[1] += bias_[0];
    high[0] += bias_[1], high[1] += bias_[1];
    if constexpr (Shape::kGelu) {
      low[0] = GeluErf(low[0]), low[1] = GeluErf(low[1]);
      high[0] = GeluErf(high[0]), high[1] = GeluErf(high[1]);
    }
    if constexpr (kSwiGlu) {
      const float a = Silu(low[0]) * high[0], b = Silu(low[1]) * high[1];
      if constexpr (kKind == OutputKind::kHalfWide) {
        PutPair(PackBFloat16(a, b));
      } else {
        PutEach(place_, a, b);
      }
    } else if constexpr (kKind == OutputKind::kHalfWide) {
      PutFour(PackBFloat16(low[0], low[1]), PackBFloat16(high[0], high[1]));
    } else if constexpr (kKind == OutputKind::kAdded) {
      PutEach(place_, fmaf(low[0], scale_[0], old[0]), fmaf(low[1], scale_[0], old[1]));
      if (has_second_) {
        PutEach(place_ + 8, fmaf(high[0], scale_[1], old[2]), fmaf(high[1], scale_[1], old[3]));
      }
    } else {
      PutEach(place_, low[0], low[1]);
      if (has_second_) PutEach(place_ + 8, high[0], high[1]);
    }
    place_ += 8 * stride_;
    left_ -= 8;
    // Otherwise addresses of all rows are computed at once, which takes too many registers.
    asm volatile("" : "+l"(place_));
  }

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
  float weight_scale_[2];
  const float2* x_scales_;
  float2 next_x_scales_;
  float scale_[2];  // where outputs are added
};

// Calls put.operator()<kKind>() with how the operands' outputs are stored.
template <typename Shape, typename PutKind>
__device__ __forceinline__ void WithKind(const ProductOperands& p, const PutKind& put) {
  // One way out: the others' code would take registers from it.
  if constexpr (Shape::kGelu) return put.template operator()<OutputKind::kHalfWide>();
  switch (KindOf<Shape>(p)) {
    case OutputKind::kFloat:
      return put.template operator()<OutputKind::kFloat>();
    case OutputKind::kAdded:
      // A sum of gate and up is no output.
      if constexpr (!Shape::kSwiGlu) put.template operator()<OutputKind::kAdded>();
      return;
    case OutputKind::kHalf:
      return put.template operator()<OutputKind::kHalf>();
    case OutputKind::kHalfWide:
      return put.template operator()<OutputKind::kHalfWide>();
  }
}

// Partial sums of the cut pieces, share after share, to outputs. Grid (quads, column tiles of a
// pair, pieces).
template <typename Shape>
__global__ void __launch_bounds__(kConsumers)
    WideSumKernel(int64_t out_features, const ProductOperands p, const WidePlan s) {
  LetNextStart();
  WaitForPrevious();
  const int quad = static_cast<int>(blockIdx.x);
  const int rank = static_cast<int>(blockIdx.y);
  const int piece = static_cast<int>(blockIdx.z);
  const int column_tile = piece / s.row_tiles * kWideCluster + rank;
  const int row = piece % s.row_tiles * Shape::kRows + quad % (Shape::kRows / 8) * 8;
  if (row >= p.rows) return;
  const int64_t slot_step = Shape::Partial(p, 1, 0) - Shape::Partial(p, 0, 0);
  float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  const auto add = [&](const float4& part) {
    c[0] += part.x;
    c[1] += part.y;
    c[2] += part.z;
    c[3] += part.w;
  };
  if (SharesChunks(s)) {
    const float4* partial = Shape::Partial(p, piece, rank) + quad * kConsumers + threadIdx.x;
#pragma unroll 4
    for (int chunk = 0; chunk < s.chunks; ++chunk) {
      add(__ldcg(partial));
      partial += s.cut * slot_step;
    }
  } else {
    const int first = ShareOwner(s, piece * s.steps);
    const int last = ShareOwner(s, (piece + 1) * s.steps - 1);
    const float4* partial = Shape::Partial(p, 2 * first, rank) + quad * kConsumers + threadIdx.x;
    int begin = ShareBegin(s, first);
    // A share that began with the piece before has this one second.
    if (begin < piece * s.steps) partial += slot_step;
#pragma unroll 4
    for (int share = first; share <= last; ++share) {
      const int end = ShareBegin(s, share + 1);
      // More shares than steps: some are empty. Past the first-level cache: other blocks wrote it.
      const float4 part = begin < end ? __ldcg(partial) : float4{};
      if (share == first && begin < piece * s.steps) partial -= slot_step;
      partial += 2 * slot_step;
      begin = end;
      add(part);
    }
  }
  WithKind<Shape>(p, [&]<OutputKind kKind>() {
    WideOutput<Shape, kKind>(out_features, p, column_tile, static_cast<int>(threadIdx.x) / 32,
                             quad / (Shape::kRows / 8), row)
        .template Put<1>(c);
  });
}

}  // namespace skein::cuda::wide
