// What the wide kernels of AWQ weights share: where a block's packed tiles lie, how copies bring
// them, and how warps read them.
#pragma once

#include "cuda/kernels/awq_wide.h"
#include "cuda/kernels/tensor_map.h"
#include "cuda/kernels/wide_launch.cuh"

namespace skein::cuda::wide {

// How copies see the operands. words: [packed tiles, steps, words of a tile and step]; tables:
// [packed tiles, units, columns]; x: [rows, inputs].
struct AwqMaps {
  CUtensorMap words, tables, x;
};

// Fragments: without SwiGLU the halves of a packed tile; with it the same half of a tile of gate
// and of one of up.
template <int kTile, bool kWithSwiGlu>
struct AwqShape : WideShape<kTile, kWithSwiGlu> {
  using Base = WideShape<kTile, kWithSwiGlu>;
  using Base::kBlocks;
  using Base::kSwiGlu;
  // Packed tiles in a stage; with SwiGLU the second half is up's.
  static constexpr int kPacked = Base::kColumns / kAwqTileColumns;
  // What a warp reads of them.
  static constexpr int kRead = kSwiGlu ? 2 : kBlocks;

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
  __device__ static __forceinline__ int FirstColumn(int warp, int block) {
    if constexpr (!kSwiGlu) return Place(warp, block) * kAwqTileColumns;
    return Place(warp, 0) * kAwqTileColumns + Half(warp, block, 0) * 8;
  }
  // Packed tiles that lie side by side, and the first of the run `run` of column tile
  // `column_tile`. Some may be beyond the last: what is read of them is dropped.
  static constexpr int kRuns = kSwiGlu ? 2 : 1;
  static constexpr int kRun = kPacked / kRuns;
  __device__ static __forceinline__ int FirstPacked(const AwqWeights& w, int column_tile, int run) {
    return column_tile * kRun + run * static_cast<int>(w.out_features) / 2 / kAwqTileColumns;
  }
};

// The copies of a step: packed words, and every other step, or where a piece's part begins, the
// units' tables behind them.
template <typename Shape>
struct AwqCopies {
  using Maps = AwqMaps;
  using Weights = AwqWeights;
  // Of a packed tile in a step.
  static constexpr int kStepWordBytes = kAwqWordBytes / 2;
  static constexpr int kWordsBytes = Shape::kPacked * kStepWordBytes;
  static constexpr int kTablesBytes = Shape::kPacked * kAwqTableBytes;
  static constexpr int kBytes = kWordsBytes + kTablesBytes;

  __device__ static __forceinline__ void PrefetchMaps(const Maps& maps) {
    PrefetchMap(&maps.words);
    PrefetchMap(&maps.tables);
    PrefetchMap(&maps.x);
  }
  __device__ static __forceinline__ int FirstInput(const AwqWeights& w) {
    return static_cast<int>(w.group_offset);
  }
  template <typename Ring>
  __device__ static __forceinline__ void CopyWeights(const Maps& maps, const AwqWeights& w,
                                                     const Ring& ring, int stage, int column_tile,
                                                     int step, bool is_first) {
    const bool has_tables = step % 2 == 0 || is_first;
    const uint32_t full = ring.Full(stage);
    ExpectBytes(full, Ring::kXBytes + kWordsBytes + (has_tables ? kTablesBytes : 0));
    const uint32_t words = ring.Weights(stage);
#pragma unroll
    for (int run = 0; run < Shape::kRuns; ++run) {
      const int tile = Shape::FirstPacked(w, column_tile, run);
      CopyBox(words + run * (kWordsBytes / Shape::kRuns), &maps.words, 0, step, tile, full);
      if (!has_tables) continue;
      CopyBox(words + kWordsBytes + run * (kTablesBytes / Shape::kRuns), &maps.tables, 0, step / 2,
              tile, full);
    }
  }

  // A warp's part of a stage whose weights lie at `from`: its words, and the entry of the tables
  // for the lane's column of rows 0-7 or 8-15 of fragment `block`.
  __device__ static __forceinline__ void ReadWords(uint32_t from, int warp, int lane,
                                                   uint4 (&words)[Shape::kRead]) {
#pragma unroll
    for (int i = 0; i < Shape::kRead; ++i) {
      words[i] = LoadShared(from + Shape::Place(warp, i) * kStepWordBytes + lane * 16);
    }
  }
  __device__ static __forceinline__ uint32_t ReadEntry(uint32_t from, int warp, int lane, int block,
                                                       int eight) {
    const int place = Shape::Place(warp, Shape::Which(block, eight));
    const int column = Shape::Half(warp, block, eight) * 8 + lane / 4;
    return LoadShared4(from + kWordsBytes + place * kAwqTableBytes + column * 4);
  }
};

template <typename Shape>
AwqMaps MapAwq(const AwqWeights& w, const ProductOperands& p) {
  const int64_t tiles = w.padded_out / kAwqTileColumns;
  constexpr int kStepBytes = AwqCopies<Shape>::kStepWordBytes;
  AwqMaps maps;
  maps.words =
      MakeTensorMap<3>(w.words, CU_TENSOR_MAP_DATA_TYPE_UINT32,
                       {kStepBytes / 4, w.units * 2, tiles}, {kStepBytes, w.units * kAwqWordBytes},
                       {kStepBytes / 4, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.tables =
      MakeTensorMap<3>(w.tables, CU_TENSOR_MAP_DATA_TYPE_UINT32, {kAwqTileColumns, w.units, tiles},
                       {kAwqTableBytes, w.units * kAwqTableBytes},
                       {kAwqTileColumns, 1, Shape::kRun}, CU_TENSOR_MAP_SWIZZLE_NONE);
  maps.x = MapRows<Shape>(p, w.in_features);
  return maps;
}

// Kernel::Shape, a tile's.
template <typename Kernel>
void LaunchAwqWide(const AwqWeights& w, const ProductOperands& p, const WidePlan& s,
                   Stream& stream) {
  LaunchWide<Kernel>(MapAwq<typename Kernel::Shape>(w, p), w, p, s, stream);
}

using AwqWideLauncher = void (*)(const AwqWeights&, const ProductOperands&, const WidePlan&,
                                 Stream&);

}  // namespace skein::cuda::wide
