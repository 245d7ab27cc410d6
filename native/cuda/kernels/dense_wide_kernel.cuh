// The wide kernel of products with dense weights, bfloat16 or float8 (wide_kernel.cuh says its
// frame): both operands from shared memory, weights as rows of 128 bytes. Of float8, pairs of codes
// are copied like bfloat16, so that a step has twice as many inputs.
//
// With SwiGLU a stage holds eight rows of gate, the eight of up that belong to them, and so on: the
// map has gate and up as a dimension of its own, so that one copy deals them like that.
#pragma once

#include "cuda/kernels/wide_kernel.cuh"

namespace skein::cuda::wide {

// How copies see the operands. weight: [out, in], or with SwiGLU [out / 16, gate and up, 8 columns,
// in]; x: [rows, inputs].
struct DenseMaps {
  CUtensorMap weight, x;
};

struct DenseWeights {
  int64_t out_features;
};

// Fragment `block` of a warp is sixteen rows of the stage. kWhole: pieces are not summed in chunks.
template <int kTile, bool kWithSwiGlu, bool kFloat8, bool kWithGelu, bool kWhole>
struct DenseShape : WideShape<kTile, kWithSwiGlu> {
  static constexpr bool kSumsWhole = kWhole;
  static constexpr bool kIsTight = !kWhole && kWideTiles[kTile].is_tight_with_chunks();
  static constexpr bool kIsScaled = kFloat8;
  static constexpr bool kGelu = kWithGelu;
  __device__ static __forceinline__ int FirstColumn(int warp, int block) {
    return (block * 8 + warp) * (kWithSwiGlu ? 8 : 16);
  }
};

template <int kTile, bool kSwiGlu, bool kFloat8, bool kGelu, bool kWhole>
struct DenseWide {
  using Shape = DenseShape<kTile, kSwiGlu, kFloat8, kGelu, kWhole>;
  using Maps = DenseMaps;
  using Weights = DenseWeights;
  static constexpr int kRows = Shape::kRows;
  static constexpr int kBlocks = Shape::kBlocks;
  static constexpr int kRowBytes = kWideStepInputs * 2;
  static constexpr int kWeightBytes = Shape::kColumns * kRowBytes;
  using Ring = WideRing<Shape, kWeightBytes>;

  __device__ static __forceinline__ void PrefetchMaps(const Maps& maps) {
    PrefetchMap(&maps.weight);
    PrefetchMap(&maps.x);
  }
  __device__ static __forceinline__ int FirstInput(const DenseWeights&) { return 0; }
  __device__ static __forceinline__ void CopyWeights(const Maps& maps, const DenseWeights&,
                                                     const Ring& ring, int stage, int column_tile,
                                                     int step, bool) {
    const uint32_t full = ring.Full(stage);
    ExpectBytes(full, Ring::kXBytes + kWeightBytes);
    if constexpr (kSwiGlu) {
      CopyBox(ring.Weights(stage), &maps.weight, step * kWideStepInputs, 0, 0,
              column_tile * (Shape::kColumns / 16), full);
    } else {
      CopyBox(ring.Weights(stage), &maps.weight, step * kWideStepInputs,
              column_tile * Shape::kColumns, full);
    }
  }

  // A warp of those that multiply.
  struct Consumer {
    const ProductOperands& p;
    const DenseWeights& w;
    const WidePlan& s;
    const Ring ring;
    const int rank, cluster, warp;
    typename Ring::Turn turn{};
    float sums[kBlocks][kRows / 2];

    // adds: 0 where sums begin.
    __device__ __forceinline__ void Multiply(int stage, int adds) {
      // The warpgroup's first 64 columns; its next ones are behind the other's.
      const uint64_t weights = OperandDescriptor(ring.Weights(stage) + warp / 4 * 64 * kRowBytes);
      const uint64_t x = OperandDescriptor(ring.X(stage));
      FenceProducts();
#pragma unroll
      for (int k = 0; k < kWideStepInputs / 16; ++k) {
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          const uint64_t operand = weights + block * (128 * kRowBytes / 16) + 2 * k;
          if constexpr (kFloat8) {
            WarpgroupMultiplyFloat8<kRows>(sums[block], operand, x + 2 * k, k == 0 ? adds : 1);
          } else {
            WarpgroupMultiply<kRows>(sums[block], operand, x + 2 * k, k == 0 ? adds : 1);
          }
        }
      }
      CommitProducts();
    }

    // Of steps begin .. end - 1.
    __device__ __forceinline__ void SumSteps(int begin, int end) {
      int before = 0;
      for (int step = begin; step < end; ++step) {
        AwaitParity(ring.Full(turn.stage), turn.parity);
        Multiply(turn.stage, step == begin ? 0 : 1);
        WaitProducts<1>();
        if (step != begin) ring.Release(before);
        before = turn.stage;
        turn.Advance();
      }
      WaitProducts<0>();
      ring.Release(before);
#pragma unroll
      for (auto& block : sums) {
#pragma unroll
        for (float& value : block) Pin(value);
      }
    }

    __device__ __forceinline__ void Sum(const Segment& segment) {
      if constexpr (Shape::kSumsWhole) {
        SumSteps(segment.begin, segment.end);
      } else {
        SumChunks(segment);
      }
    }

    // Chunk after chunk, as WideSumKernel adds them where each is a share. The sums before a chunk
    // wait in registers, or, of a large tile, where this thread alone writes and reads them.
    __device__ __forceinline__ void SumChunks(const Segment& segment) {
      const int chunks = segment.slot < 0 ? s.chunks : 1;
      float totals[Shape::kSumsChunks ? kBlocks : 1][Shape::kSumsChunks ? kRows / 2 : 1];
      float4* const kept = Shape::Partial(p, s.shares + cluster, rank) + threadIdx.x;
      int begin = segment.begin;
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const bool is_last = chunk + 1 == chunks;
        const int end = is_last ? segment.end : ChunkBegin(s, chunk + 1);
        SumSteps(begin, end);
        begin = end;
        if (chunks == 1) return;
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          if constexpr (Shape::kSumsChunks) {
#pragma unroll
            for (int i = 0; i < kRows / 2; ++i) {
              if (chunk > 0) sums[block][i] = totals[block][i] + sums[block][i];
              totals[block][i] = sums[block][i];
            }
          } else {
#pragma unroll
            for (int i = 0; i < kRows / 8; ++i) {
              float4* const place = kept + (block * (kRows / 8) + i) * kConsumers;
              float* const c = sums[block] + 4 * i;
              if (chunk > 0) {
                const float4 before = __ldcg(place);
                c[0] = before.x + c[0], c[1] = before.y + c[1];
                c[2] = before.z + c[2], c[3] = before.w + c[3];
              }
              if (!is_last) __stcg(place, make_float4(c[0], c[1], c[2], c[3]));
            }
          }
        }
      }
    }
  };
};

}  // namespace skein::cuda::wide
