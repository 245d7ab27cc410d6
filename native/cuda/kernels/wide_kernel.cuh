// The frame of the wide kernels (Hopper): out^T [columns, rows] = W x^T by warpgroup products,
// weights as their first operand, x as the second from shared memory.
//
// A block has two warpgroups that multiply and one thread that copies. The copies of a step of 64
// inputs - x as rows of 128 bytes, half of it from each block of the cluster for both; the weights
// of the block's columns - end in the step's barrier `full`; `empty` ends when the warps of both
// blocks have read it.
//
// What differs with the form of the weights is a kernel's own, a type with
//   Shape, Ring, Maps (how copies see the operands; `x` is [rows, inputs]), Weights (their
//   out_features)
//   PrefetchMaps(maps)
//   FirstInput(weights): inputs that stand in front of x's in the weights
//   CopyWeights(maps, weights, ring, stage, column_tile, step, is_first)
//   Consumer{p, w, s, ring, rank, cluster, warp}: Sum(segment) leaves `sums`
// and perhaps
//   InitBarriers(ring): those in the bytes that it keeps
#pragma once

#include "cuda/kernels/shared_memory.cuh"
#include "cuda/kernels/wgmma.cuh"
#include "cuda/kernels/wide_parts.cuh"

namespace skein::cuda::wide {

inline constexpr int kThreads = kConsumers + 128;
// Setting them up takes 168 registers a thread; then they are dealt out anew.
inline constexpr int kConsumerRegisters = 232, kProducerRegisters = 40;

// The stages of shared memory: x, then `kWeightBytes` of weights. The swizzle of x wants it at
// multiples of 1024. Behind the barriers are `kKeptBytes` for what a kernel keeps there.
template <typename Shape, int kWeightBytes, int kKeptBytes = 0>
struct WideRing {
  static constexpr int kXBytes = Shape::kRows * kWideStepInputs * 2;
  static constexpr int kStageBytes = (kXBytes + kWeightBytes + 1023) / 1024 * 1024;
  static constexpr int kBarrierBytes = 256;
  static constexpr int kMostStages =
      (kWideSharedBytes - 1024 - kBarrierBytes - kKeptBytes) / kStageBytes;
  static constexpr int kStages = kMostStages < 16 ? kMostStages : 16;
  static constexpr int kSharedBytes = 1024 + kStages * kStageBytes + kBarrierBytes + kKeptBytes;
  // More than half of what a multiprocessor has, so that no two blocks meet on one.
  static_assert(kSharedBytes > kWideSharedBytes / 2 && kSharedBytes <= kWideSharedBytes);
  static_assert(kStages >= 4 && 16 * kStages <= kBarrierBytes);
  static_assert(Shape::kRows / kWideCluster % 8 == 0);  // a block's half is whole swizzled groups

  // A stage and the parity of its phase.
  struct Turn {
    int stage = 0, parity = 0;
    __device__ __forceinline__ void Advance() {
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
  };

  uint32_t stages, barriers;
  __device__ __forceinline__ uint32_t X(int stage) const { return stages + stage * kStageBytes; }
  __device__ __forceinline__ uint32_t Weights(int stage) const { return X(stage) + kXBytes; }
  __device__ __forceinline__ uint32_t Full(int stage) const { return barriers + stage * 16; }
  __device__ __forceinline__ uint32_t Empty(int stage) const { return barriers + stage * 16 + 8; }
  __device__ __forceinline__ uint32_t Kept() const { return barriers + kBarrierBytes; }
  // This warp has read the stage: lanes 0 and 1 say so to the two blocks.
  __device__ __forceinline__ void Release(int stage) const {
    if (threadIdx.x % 32 < kWideCluster) ArriveAt(Empty(stage), threadIdx.x % 32);
  }
};

// The thread that copies.
template <typename Kernel>
struct Copier {
  using Ring = typename Kernel::Ring;

  const typename Kernel::Maps& maps;
  const typename Kernel::Weights& w;
  const WidePlan& s;
  const Ring ring;
  const int rank, cluster;
  Segment segment{};
  int step = 0;  // from the segment's begin
  int column_tile = 0, row = 0;

  __device__ __forceinline__ bool Begin(Segments& segments) {
    if (!segments.Next(s, &segment)) return false;
    step = segment.begin;
    column_tile = segment.piece / s.row_tiles * kWideCluster + rank;
    row = segment.piece % s.row_tiles * Kernel::Shape::kRows +
          rank * (Kernel::Shape::kRows / kWideCluster);
    return true;
  }
  __device__ __forceinline__ bool Advance(Segments& segments) {
    return ++step < segment.end || Begin(segments);
  }

  __device__ __forceinline__ void CopyWeights(int stage) const {
    Kernel::CopyWeights(maps, w, ring, stage, column_tile, step, step == segment.begin);
  }
  // This block's half of the rows, for both. Inputs before and after x's are zeros, as are rows
  // after its last: the map says where it ends.
  __device__ __forceinline__ void CopyX(int stage) const {
    CopyBoxToBoth(ring.X(stage) + rank * (Ring::kXBytes / kWideCluster), &maps.x,
                  step * kWideStepInputs - Kernel::FirstInput(w), row, ring.Full(stage));
  }

  __device__ __forceinline__ void Run() {
    // Weights are there already, x is when the kernel before has ended.
    {
      Segments segments(s, cluster);
      bool more = Begin(segments);
      for (int stage = 0; stage < Ring::kStages && more; ++stage) {
        CopyWeights(stage);
        more = Advance(segments);
      }
    }
    WaitForPrevious();
    Segments segments(s, cluster);
    bool more = Begin(segments);
    for (int stage = 0; stage < Ring::kStages && more; ++stage) {
      CopyX(stage);
      more = Advance(segments);
    }
    typename Ring::Turn turn;
    while (more) {
      AwaitParity(ring.Empty(turn.stage), turn.parity);
      CopyWeights(turn.stage);
      CopyX(turn.stage);
      turn.Advance();
      more = Advance(segments);
    }
  }
};

// Sums of a warp: to partial sums, or outputs.
template <typename Shape>
__device__ __forceinline__ void Deliver(const float (&sums)[Shape::kBlocks][Shape::kRows / 2],
                                        int64_t out_features, const ProductOperands& p,
                                        const WidePlan& s, const Segment& segment, int rank,
                                        int warp) {
  constexpr int kEights = Shape::kRows / 8;
  if (segment.slot >= 0) {
    float4* const partial = Shape::Partial(p, segment.slot, rank) + threadIdx.x;
#pragma unroll
    for (int block = 0; block < Shape::kBlocks; ++block) {
#pragma unroll
      for (int i = 0; i < kEights; ++i) {
        const float* c = sums[block] + 4 * i;
        partial[(block * kEights + i) * kConsumers] = make_float4(c[0], c[1], c[2], c[3]);
      }
    }
    return;
  }
  const int column_tile = segment.piece / s.row_tiles * kWideCluster + rank;
  const int row = segment.piece % s.row_tiles * Shape::kRows;
  WithKind<Shape>(p, [&]<OutputKind kKind>() {
#pragma unroll
    for (int block = 0; block < Shape::kBlocks; ++block) {
      WideOutput<Shape, kKind>(out_features, p, column_tile, warp, block, row)
          .template Put<kEights>(sums[block]);
    }
  });
}

template <typename Kernel>
__device__ __forceinline__ void RunWide(const typename Kernel::Maps& maps,
                                        const typename Kernel::Weights& w, const ProductOperands& p,
                                        const WidePlan& s, uint32_t shared) {
  using Ring = typename Kernel::Ring;
  LetNextStart();
  const uint32_t stages = (shared + 1023) / 1024 * 1024;
  const Ring ring{stages, stages + Ring::kStages * Ring::kStageBytes};
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int rank = static_cast<int>(ClusterRank());
  const int cluster = static_cast<int>(blockIdx.x) / kWideCluster;
  if (threadIdx.x == 0) {
    Kernel::PrefetchMaps(maps);
    for (int stage = 0; stage < Ring::kStages; ++stage) {
      InitBarrier(ring.Full(stage), 1);
      InitBarrier(ring.Empty(stage), kWideCluster * kConsumers / 32);
    }
    if constexpr (requires { Kernel::InitBarriers(ring); }) Kernel::InitBarriers(ring);
    FenceBarriers();
  }
  SyncCluster();
  if (warp >= kConsumers / 32) {
    ShrinkRegisters<kProducerRegisters>();
    if (threadIdx.x == kConsumers) {
      Copier<Kernel>{maps, w, s, ring, rank, cluster}.Run();
    } else {
      WaitForPrevious();
    }
    __syncwarp();
  } else {
    GrowRegisters<kConsumerRegisters>();
    WaitForPrevious();
    typename Kernel::Consumer consumer{p, w, s, ring, rank, cluster, warp};
    Segments segments(s, cluster);
    Segment segment;
    while (segments.Next(s, &segment)) {
      consumer.Sum(segment);
      Deliver<typename Kernel::Shape>(consumer.sums, w.out_features, p, s, segment, rank, warp);
    }
  }
  // The other block's copies and arrivals may still be on their way to this one.
  SyncCluster();
}

// Clusters of kWideCluster blocks.
template <typename Kernel>
__global__ void __launch_bounds__(kThreads, 1)
    WideKernel([[maybe_unused]] const __grid_constant__ typename Kernel::Maps maps,
               [[maybe_unused]] const typename Kernel::Weights w,
               [[maybe_unused]] const ProductOperands p, [[maybe_unused]] const WidePlan s) {
#if defined(SKEIN_HOPPER)
  extern __shared__ char shared[];
  RunWide<Kernel>(maps, w, p, s, SharedAddress(shared));
#endif
}

}  // namespace skein::cuda::wide
