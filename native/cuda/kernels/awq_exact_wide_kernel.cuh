// The wide kernel of products with AWQ int4 weights that leaves the bits of the kernel for few rows
// (awq_multiply.cuh): a weight is q - z, exact, and a unit's sums, made from zero, are multiplied
// by its scale and added in float32. wide_kernel.cuh says its frame.
//
// Sums of a unit and those before it take twice the registers, so tiles have 128 columns and up to
// 128 rows. The two warpgroups take turns with the tensor cores: while one multiplies a unit, the
// other scales its last one and makes weights of its next. In step they would do both one after the
// other: without turns gate and up of 1,024 rows take 5 % longer.
//
// A piece's inputs are summed in the weight's chunks (AwqChunks), which are added in order: here,
// where a cluster has all of them; the sums so far then wait in shared memory.
#pragma once

#include "cuda/kernels/awq_wide_parts.cuh"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/wide_kernel.cuh"

namespace skein::cuda::wide {

template <int kTile, bool kSwiGlu>
struct AwqExactWide : AwqCopies<AwqShape<kTile, kSwiGlu>> {
  using Shape = AwqShape<kTile, kSwiGlu>;
  using Copies = AwqCopies<Shape>;
  static constexpr int kRows = Shape::kRows;
  static_assert(Shape::kBlocks == 1);
  static constexpr int kQuads = Shape::kQuads;
  // Sums of earlier chunks: [quads, threads] float4.
  static constexpr int kSumBytes = kQuads * kConsumers * 16;
  // Behind them, a barrier for each warpgroup's turns.
  using Ring = WideRing<Shape, Copies::kBytes, kSumBytes + 2 * 8>;
  // Products of few rows are too short for turns: what they wait for is not the tensor cores.
  static constexpr bool kTakesTurns = kRows > 64;

  __device__ static __forceinline__ uint32_t Turns(const Ring& ring) {
    return ring.Kept() + kSumBytes;
  }
  __device__ static __forceinline__ void InitBarriers(const Ring& ring) {
    for (int warpgroup = 0; warpgroup < 2; ++warpgroup) {
      InitBarrier(Turns(ring) + warpgroup * 8, kConsumers / 32 / 2);
    }
  }

  // A warp of those that multiply.
  struct Consumer {
    const ProductOperands& p;
    const AwqWeights& w;
    const WidePlan& s;
    const Ring ring;
    const int rank, cluster, warp;
    typename Ring::Turn turn{};
    int turn_parity = warp / 4 == 0 ? 1 : 0;
    // Of the unit that was read: its words, two steps; entries of its tables for rows 0-7 and 8-15
    // of the fragment; its stages.
    uint4 words[2][Shape::kRead];
    uint32_t entries[2];
    int stages[2];
    float sums[1][kRows / 2];
    float products[kRows / 2];
    uint32_t a[8][4];

    // A warpgroup's turn begins when all warps of the other one have issued their products; the
    // first one's first with nobody's.
    __device__ __forceinline__ void AwaitTurn() {
      if constexpr (kTakesTurns) {
        AwaitParity(Turns(ring) + warp / 4 * 8, turn_parity);
        turn_parity ^= 1;
      }
    }
    __device__ __forceinline__ void PassTurn() const {
      if (kTakesTurns && threadIdx.x % 32 == 0) Arrive(Turns(ring) + (1 - warp / 4) * 8);
    }

    // Waits for the stages of the next unit and reads this warp's part of the weights.
    __device__ __forceinline__ void Read() {
      const int lane = threadIdx.x % 32;
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        AwaitParity(ring.Full(turn.stage), turn.parity);
        const uint32_t from = ring.Weights(turn.stage);
        Copies::ReadWords(from, warp, lane, words[step]);
        if (step == 0) {
#pragma unroll
          for (int eight = 0; eight < 2; ++eight) {
            entries[eight] = Copies::ReadEntry(from, warp, lane, 0, eight);
          }
        }
        stages[step] = turn.stage;
        turn.Advance();
      }
    }

    __device__ __forceinline__ void MakeWeights() {
      const __nv_bfloat162 zeros[2] = {TableZero(entries[0]), TableZero(entries[1])};
#pragma unroll
      for (int k = 0; k < 8; ++k) {
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
          const uint4& four = words[k / 4][Shape::Which(0, eight)];
          const uint32_t word = k % 4 == 0   ? four.x
                                : k % 4 == 1 ? four.y
                                : k % 4 == 2 ? four.z
                                             : four.w;
          const int low = Shape::Half(warp, 0, eight);
          a[k][eight] = FragmentRegister(word, low, zeros[eight]);
          a[k][2 + eight] = FragmentRegister(word, low + 2, zeros[eight]);
        }
#pragma unroll
        for (uint32_t& value : a[k]) Pin(value);
      }
    }

    __device__ __forceinline__ void Multiply() {
      AwaitTurn();
      FenceProducts();
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        WarpgroupMultiply<kRows>(
            products, a[k], OperandDescriptor(ring.X(stages[k / 4])) + k % 4 * 2, k == 0 ? 0 : 1);
      }
      CommitProducts();
      PassTurn();
    }

    // The sums so far and `sums`, in that order: kept, or, behind the last chunk, in `sums`.
    __device__ __forceinline__ void EndChunk(bool is_first, bool is_last) {
      const uint32_t kept = ring.Kept() + threadIdx.x * 16;
#pragma unroll
      for (int i = 0; i < kQuads; ++i) {
        float* const c = sums[0] + 4 * i;
        const uint32_t place = kept + i * (kConsumers * 16);
        if (!is_first) {
          const uint4 before = LoadShared(place);
          c[0] = __fadd_rn(__uint_as_float(before.x), c[0]);
          c[1] = __fadd_rn(__uint_as_float(before.y), c[1]);
          c[2] = __fadd_rn(__uint_as_float(before.z), c[2]);
          c[3] = __fadd_rn(__uint_as_float(before.w), c[3]);
        }
        if (is_last) continue;
        StoreShared(place, make_uint4(__float_as_uint(c[0]), __float_as_uint(c[1]),
                                      __float_as_uint(c[2]), __float_as_uint(c[3])));
#pragma unroll
        for (int j = 0; j < 4; ++j) c[j] = 0.0f;
      }
    }

    // Parts of pieces begin and end with a unit.
    __device__ __forceinline__ void Sum(const Segment& segment) {
      const int chunks = segment.slot < 0 ? s.chunks : 1;
      int chunk = 0, chunk_end = chunks > 1 ? ChunkBegin(s, 1) : segment.end;
#pragma unroll
      for (float& value : sums[0]) value = 0.0f;
      Read();
      MakeWeights();
      for (int step = segment.begin; step < segment.end; step += 2) {
        const float scales[2] = {TableScale(entries[0]), TableScale(entries[1])};
        const int used[2] = {stages[0], stages[1]};
        Multiply();
        const bool is_last = step + 2 >= segment.end;
        if (!is_last) Read();
        WaitProducts<0>();
        ring.Release(used[0]);
        ring.Release(used[1]);
#pragma unroll
        for (int i = 0; i < kRows / 2; ++i) {
          Pin(products[i]);
          sums[0][i] = __fmaf_rn(scales[i % 4 / 2], products[i], sums[0][i]);
        }
        if (step + 2 >= chunk_end && chunks > 1) {
          EndChunk(chunk == 0, is_last);
          ++chunk;
          chunk_end = ChunkBegin(s, chunk + 1);
        }
        // At the end of a round: in front of AwaitTurn, ptxas moves it behind, into the turn.
        if (!is_last) MakeWeights();
      }
    }
  };
};

}  // namespace skein::cuda::wide
