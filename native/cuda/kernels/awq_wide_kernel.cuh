// The wide kernel of products with AWQ int4 weights (wide_kernel.cuh says its frame): weights as
// the products' first operand from registers.
//
// A step's packed words, and every other step the units' tables, are copied. Packed words are in
// the order of the registers of a product's first operand, so a warp reads its own (one 16-byte
// load a tile and step) and makes bfloat16 weights of them while the products of the registers
// before are under way: per register, a shift, a logic operation, a subtraction and two
// multiplications.
//
// Rounding: q - z is exact, and (q - z) * s is rounded once, as AwqDequantize does. To round s
// first would save a fifth of the instructions where few rows share them, and cost up to as much
// accuracy again.
#pragma once

#include "cuda/kernels/awq_wide_parts.cuh"
#include "cuda/kernels/awq_words.cuh"
#include "cuda/kernels/wide_kernel.cuh"

namespace skein::cuda::wide {

template <int kTile, bool kSwiGlu>
struct AwqWide : AwqCopies<AwqShape<kTile, kSwiGlu>> {
  using Shape = AwqShape<kTile, kSwiGlu>;
  using Copies = AwqCopies<Shape>;
  static constexpr int kRows = Shape::kRows;
  static constexpr int kBlocks = Shape::kBlocks;
  using Ring = WideRing<Shape, Copies::kBytes>;

  struct Scales {
    __nv_bfloat162 zero, high, low;

    __device__ __forceinline__ void Set(uint32_t entry) {
      zero = TableZero(entry);
      const float scale = TableScale(entry);
      high = __floats2bfloat162_rn(scale, scale);
      // A float16 scale is the sum of two bfloat16 numbers, exactly.
      const float rest = scale - __low2float(high);
      low = __floats2bfloat162_rn(rest, rest);
    }
    // Two weights: register p of a fragment, as FragmentRegister has it, times the scale.
    __device__ __forceinline__ uint32_t Weights(uint32_t word, int p) const {
      const uint32_t exact = FragmentRegister(word, p, zero);
      const auto value = *reinterpret_cast<const __nv_bfloat162*>(&exact);
      const __nv_bfloat162 scaled = __hfma2(value, high, __hmul2(value, low));
      return *reinterpret_cast<const uint32_t*>(&scaled);
    }
  };

  // A warp of those that multiply.
  struct Consumer {
    const ProductOperands& p;
    const AwqWeights& w;
    const WidePlan& s;
    const Ring ring;
    const int rank, cluster, warp;
    typename Ring::Turn turn{};
    uint4 words[Shape::kRead];
    Scales scales[kBlocks][2];
    float sums[kBlocks][kRows / 2];
    // Weights of half a step: two products' worth for each 64 columns.
    uint32_t a[2][2][kBlocks][4];

    // Waits for the stage of `step` and reads this warp's part of the weights.
    __device__ __forceinline__ void Read(const Segment& segment, int step) {
      const int lane = threadIdx.x % 32;
      AwaitParity(ring.Full(turn.stage), turn.parity);
      const uint32_t from = ring.Weights(turn.stage);
      Copies::ReadWords(from, warp, lane, words);
      if (step % 2 != 0 && step != segment.begin) return;
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
          scales[block][eight].Set(Copies::ReadEntry(from, warp, lane, block, eight));
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
      const uint64_t x = OperandDescriptor(ring.X(stage));
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

    __device__ __forceinline__ void Sum(const Segment& segment) {
      Read(segment, segment.begin);
      Dequantize(0);
      int before = 0;
      for (int step = segment.begin; step < segment.end; ++step) {
        const int stage = turn.stage;
        Multiply(0, stage, step == segment.begin ? 0 : 1);
        WaitProducts<1>();
        if (step != segment.begin) ring.Release(before);
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
      ring.Release(before);
#pragma unroll
      for (auto& block : sums) {
#pragma unroll
        for (float& value : block) Pin(value);
      }
    }
  };
};

}  // namespace skein::cuda::wide
