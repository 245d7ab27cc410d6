// The kernel of products of many rows with AWQ int4 weights on Hopper: out^T [columns, rows] = W
// x^T by warpgroup products, weights as their first operand from registers, x as the second from
// shared memory.
//
// A block has two warpgroups that multiply and one thread that copies. The copies of a step of 64
// inputs - x as rows of 128 bytes, half of it from each block of the cluster for both; packed
// words; every other step the units' tables - end in the step's barrier `full`; `empty` ends when
// the warps of both blocks have read it. Packed words are in the order of the registers of a
// product's first operand, so a warp reads its own (one 16-byte load a tile and step) and makes
// bfloat16 weights of them while the products of the registers before are under way: per register,
// a shift, a logic operation, a subtraction and two or three multiplications.
//
// Rounding: q - z is exact. With kOneRounding, (q - z) * s is rounded once, as AwqDequantize does;
// otherwise s is rounded first, which costs up to as much again and saves a fifth of the
// instructions where few rows share them.
#pragma once

#include "cuda/kernels/awq_wide_parts.cuh"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/skinny_primitives.cuh"
#include "cuda/kernels/wgmma.cuh"

namespace skein::cuda::awq {

template <int kTile, bool kSwiGlu>
struct Wide {
  using Shape = WideShape<kTile, kSwiGlu>;
  static constexpr int kRows = Shape::kRows;
  static constexpr int kBlocks = Shape::kBlocks;
  static constexpr bool kOneRounding = kRows >= 128;
  static constexpr int kThreads = kConsumers + 128;
  // Of a packed tile in a step.
  static constexpr int kStepWordBytes = kAwqWordBytes / 2;
  // A stage: x, words, tables. The swizzle of x wants it at multiples of 1024.
  static constexpr int kXBytes = kRows * kAwqStepInputs * 2;
  static constexpr int kWordsBytes = Shape::kPacked * kStepWordBytes;
  static constexpr int kTablesBytes = Shape::kPacked * kAwqTableBytes;
  static constexpr int kStageBytes = (kXBytes + kWordsBytes + kTablesBytes + 1023) / 1024 * 1024;
  static constexpr int kBarrierBytes = 256;
  static constexpr int kMostStages = (kAwqWideSharedBytes - 1024 - kBarrierBytes) / kStageBytes;
  static constexpr int kStages = kMostStages < 16 ? kMostStages : 16;
  static constexpr int kSharedBytes = 1024 + kStages * kStageBytes + kBarrierBytes;
  // More than half of what a multiprocessor has, so that no two blocks meet on one.
  static_assert(kSharedBytes > kAwqWideSharedBytes / 2 && kSharedBytes <= kAwqWideSharedBytes);
  static_assert(kStages >= 4 && 16 * kStages <= kBarrierBytes);
  static_assert(kRows / kAwqWideCluster % 8 == 0);  // each block's half is whole swizzled groups
  // Setting them up takes 168 registers a thread; then they are dealt out anew.
  static constexpr int kConsumerRegisters = 232, kProducerRegisters = 40;

  // A stage of the ring and the parity of its phase.
  struct Turn {
    int stage = 0, parity = 0;
    __device__ __forceinline__ void Advance() {
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
  };
  struct Ring {
    uint32_t stages, barriers;
    __device__ __forceinline__ uint32_t Stage(int stage) const {
      return stages + stage * kStageBytes;
    }
    __device__ __forceinline__ uint32_t Full(int stage) const { return barriers + stage * 16; }
    __device__ __forceinline__ uint32_t Empty(int stage) const { return barriers + stage * 16 + 8; }
  };

  // --- The thread that copies.
  struct Copier {
    const WideMaps& maps;
    const AwqWeights& w;
    const AwqWidePlan& s;
    const Ring ring;
    const int rank, cluster;
    Segment segment{};
    int step = 0;  // from the segment's begin
    int column_tile = 0, row = 0;

    __device__ __forceinline__ bool Begin(Segments& segments) {
      if (!segments.Next(s, &segment)) return false;
      step = segment.begin;
      column_tile = segment.piece / s.row_tiles * kAwqWideCluster + rank;
      row = segment.piece % s.row_tiles * kRows + rank * (kRows / kAwqWideCluster);
      return true;
    }
    __device__ __forceinline__ bool Advance(Segments& segments) {
      return ++step < segment.end || Begin(segments);
    }

    __device__ __forceinline__ void CopyWeights(int stage) const {
      const bool has_tables = step % 2 == 0 || step == segment.begin;
      const uint32_t full = ring.Full(stage);
      ExpectBytes(full, kXBytes + kWordsBytes + (has_tables ? kTablesBytes : 0));
      const uint32_t words = ring.Stage(stage) + kXBytes;
#pragma unroll
      for (int run = 0; run < Shape::kRuns; ++run) {
        const int tile = Shape::FirstPacked(w, column_tile, run);
        CopyBox(words + run * (kWordsBytes / Shape::kRuns), &maps.words, 0, step, tile, full);
        if (!has_tables) continue;
        CopyBox(words + kWordsBytes + run * (kTablesBytes / Shape::kRuns), &maps.tables, 0,
                step / 2, tile, full);
      }
    }
    // This block's half of the rows, for both. Inputs before and after x's are zeros, as are rows
    // after its last: the map says where it ends.
    __device__ __forceinline__ void CopyX(int stage) const {
      CopyBoxToBoth(ring.Stage(stage) + rank * (kXBytes / kAwqWideCluster), &maps.x,
                    step * kAwqStepInputs - static_cast<int>(w.group_offset), row,
                    ring.Full(stage));
    }

    __device__ __forceinline__ void Run() {
      // Weights are there already, x is when the kernel before has ended.
      {
        Segments segments(s, cluster);
        bool more = Begin(segments);
        for (int stage = 0; stage < kStages && more; ++stage) {
          CopyWeights(stage);
          more = Advance(segments);
        }
      }
      WaitForPrevious();
      Segments segments(s, cluster);
      bool more = Begin(segments);
      for (int stage = 0; stage < kStages && more; ++stage) {
        CopyX(stage);
        more = Advance(segments);
      }
      Turn turn;
      while (more) {
        AwaitParity(ring.Empty(turn.stage), turn.parity);
        CopyWeights(turn.stage);
        CopyX(turn.stage);
        turn.Advance();
        more = Advance(segments);
      }
    }
  };

  // --- A warp of those that multiply.
  struct Scales {
    __nv_bfloat162 zero, high, low;

    __device__ __forceinline__ void Set(uint32_t entry) {
      zero = TableZero(entry);
      const float scale = TableScale(entry);
      high = __floats2bfloat162_rn(scale, scale);
      // A float16 scale is the sum of two bfloat16 numbers, exactly.
      if constexpr (kOneRounding) {
        const float rest = scale - __low2float(high);
        low = __floats2bfloat162_rn(rest, rest);
      }
    }
    // Two weights: register p of a fragment, as FragmentRegister has it, times the scale.
    __device__ __forceinline__ uint32_t Weights(uint32_t word, int p) const {
      const uint32_t exact = FragmentRegister(word, p, zero);
      const auto value = *reinterpret_cast<const __nv_bfloat162*>(&exact);
      __nv_bfloat162 scaled;
      if constexpr (kOneRounding) {
        scaled = __hfma2(value, high, __hmul2(value, low));
      } else {
        scaled = __hmul2(value, high);
      }
      return *reinterpret_cast<const uint32_t*>(&scaled);
    }
  };

  struct Consumer {
    const AwqOperands& p;
    const AwqWeights& w;
    const AwqWidePlan& s;
    const Ring ring;
    const int rank, cluster, warp;
    Turn turn{};
    uint4 words[Shape::kRead];
    Scales scales[kBlocks][2];
    float sums[kBlocks][kRows / 2];
    // Weights of half a step: two products' worth for each 64 columns.
    uint32_t a[2][2][kBlocks][4];

    // Waits for the stage of `step` and reads this warp's part of the weights.
    __device__ __forceinline__ void Read(const Segment& segment, int step) {
      const int lane = threadIdx.x % 32;
      AwaitParity(ring.Full(turn.stage), turn.parity);
      const uint32_t from = ring.Stage(turn.stage) + kXBytes;
#pragma unroll
      for (int i = 0; i < Shape::kRead; ++i) {
        words[i] = skinny::LoadShared(from + Shape::Place(warp, i) * kStepWordBytes + lane * 16);
      }
      if (step % 2 != 0 && step != segment.begin) return;
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
          const int place = Shape::Place(warp, Shape::Which(block, eight));
          const int column = Shape::Half(warp, block, eight) * 8 + lane / 4;
          scales[block][eight].Set(
              skinny::LoadShared4(from + kWordsBytes + place * kAwqTableBytes + column * 4));
        }
      }
    }

    // Weights of half `half` of the step that was read.
    __device__ __forceinline__ void Dequantize(int half) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
          for (int eight = 0; eight < 2; ++eight) {
            const uint4& four = words[Shape::Which(block, eight)];
            const uint32_t word =
                half == 0 ? (k == 0 ? four.x : four.y) : (k == 0 ? four.z : four.w);
            const int low = Shape::Half(warp, block, eight);
            a[half][k][block][eight] = scales[block][eight].Weights(word, low);
            a[half][k][block][2 + eight] = scales[block][eight].Weights(word, low + 2);
          }
        }
      }
    }

    // adds: 0 where sums begin.
    __device__ __forceinline__ void Multiply(int half, int stage, int adds) {
#pragma unroll
      for (auto& products : a[half]) {
#pragma unroll
        for (auto& fragment : products) {
#pragma unroll
          for (uint32_t& value : fragment) Pin(value);
        }
      }
      const uint64_t x = OperandDescriptor(ring.Stage(stage));
      FenceProducts();
#pragma unroll
      for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          WarpgroupMultiply<kRows>(sums[block], a[half][k][block], x + (half * 2 + k) * 2,
                                   k == 0 ? adds : 1);
        }
      }
      CommitProducts();
    }

    // This warp has read the stage: lanes 0 and 1 say so to the two blocks.
    __device__ __forceinline__ void Release(int stage) const {
      if (threadIdx.x % 32 < kAwqWideCluster) ArriveAt(ring.Empty(stage), threadIdx.x % 32);
    }

    __device__ __forceinline__ void Sum(const Segment& segment) {
      Read(segment, segment.begin);
      Dequantize(0);
      int before = 0;
      for (int step = segment.begin; step < segment.end; ++step) {
        const int stage = turn.stage;
        Multiply(0, stage, step == segment.begin ? 0 : 1);
        WaitProducts<1>();
        if (step != segment.begin) Release(before);
        Dequantize(1);
        Multiply(1, stage, 1);
        before = stage;
        turn.Advance();
        WaitProducts<1>();
        if (step + 1 < segment.end) {
          Read(segment, step + 1);
          Dequantize(0);
        }
      }
      WaitProducts<0>();
      Release(before);
#pragma unroll
      for (auto& block : sums) {
#pragma unroll
        for (float& value : block) Pin(value);
      }
    }

    __device__ __forceinline__ void Deliver(const Segment& segment) const {
      if (segment.slot >= 0) {
        float4* const partial = Shape::Partial(p, cluster, segment.slot, rank) + threadIdx.x;
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
          for (int i = 0; i < kRows / 8; ++i) {
            const float* c = sums[block] + 4 * i;
            partial[(block * (kRows / 8) + i) * kConsumers] = make_float4(c[0], c[1], c[2], c[3]);
          }
        }
        return;
      }
      switch (KindOf<kSwiGlu>(p)) {
        case OutputKind::kFloat:
          return Put<OutputKind::kFloat>(segment);
        case OutputKind::kHalf:
          return Put<OutputKind::kHalf>(segment);
        case OutputKind::kHalfWide:
          return Put<OutputKind::kHalfWide>(segment);
      }
    }
    template <OutputKind kKind>
    __device__ __forceinline__ void Put(const Segment& segment) const {
      const int column_tile = segment.piece / s.row_tiles * kAwqWideCluster + rank;
      const int row = segment.piece % s.row_tiles * kRows;
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        WideOutput<kTile, kSwiGlu, kKind> output(w, p, column_tile, warp, block, row);
#pragma unroll
        for (int i = 0; i < kRows / 8; ++i) {
          const float* c = sums[block] + 4 * i;
          output.Put({c[0], c[1], c[2], c[3]});
        }
      }
    }

    __device__ __forceinline__ void Run() {
      WaitForPrevious();
      Segments segments(s, cluster);
      Segment segment;
      while (segments.Next(s, &segment)) {
        Sum(segment);
        Deliver(segment);
      }
    }
  };

  __device__ static __forceinline__ void Run(const WideMaps& maps, const AwqWeights& w,
                                             const AwqOperands& p, const AwqWidePlan& s,
                                             uint32_t shared) {
    LetNextStart();
    const uint32_t stages = (shared + 1023) / 1024 * 1024;
    const Ring ring{stages, stages + kStages * kStageBytes};
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int rank = static_cast<int>(ClusterRank());
    const int cluster = static_cast<int>(blockIdx.x) / kAwqWideCluster;
    if (threadIdx.x == 0) {
      PrefetchMap(&maps.words);
      PrefetchMap(&maps.tables);
      PrefetchMap(&maps.x);
      for (int stage = 0; stage < kStages; ++stage) {
        skinny::InitBarrier(ring.Full(stage), 1);
        skinny::InitBarrier(ring.Empty(stage), kAwqWideCluster * kConsumers / 32);
      }
      FenceBarriers();
    }
    SyncCluster();
    if (warp >= kConsumers / 32) {
      ShrinkRegisters<kProducerRegisters>();
      if (threadIdx.x == kConsumers) {
        Copier{maps, w, s, ring, rank, cluster}.Run();
      } else {
        WaitForPrevious();
      }
      __syncwarp();
    } else {
      GrowRegisters<kConsumerRegisters>();
      Consumer{p, w, s, ring, rank, cluster, warp}.Run();
    }
    // The other block's copies and arrivals may still be on their way to this one.
    SyncCluster();
  }
};

// Clusters of kAwqWideCluster blocks.
template <int kTile, bool kSwiGlu>
__global__ void __launch_bounds__(Wide<kTile, kSwiGlu>::kThreads, 1)
    WideKernel([[maybe_unused]] const __grid_constant__ WideMaps maps,
               [[maybe_unused]] const AwqWeights w, [[maybe_unused]] const AwqOperands p,
               [[maybe_unused]] const AwqWidePlan s) {
#if defined(SKEIN_HOPPER)
  extern __shared__ char shared[];
  Wide<kTile, kSwiGlu>::Run(maps, w, p, s, SharedAddress(shared));
#endif
}

}  // namespace skein::cuda::awq
