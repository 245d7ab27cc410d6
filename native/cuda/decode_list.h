// The list of work that decode attention is given with each step: which share of which sequence
// each block takes. A recorded step fixes how many shares there are, and what they are follows the
// contexts of the step. Host code without CUDA; the bits do not depend on it.
#pragma once

#include <cstdint>
#include <span>

#include "cuda/kernels/decode_runs.h"

namespace skein::cuda {

// One sequence's decode of a step, or a padded row.
struct DecodeTile {
  int32_t query_row = 0;
  int32_t context_length = 0;  // 0: a padded row
  int32_t table_row = 0;
};

// What dealing goes by; follows from the shape of a step alone.
struct DecodeCut {
  int num_shares = 0;  // of the list, idle ones too
  int at_once = 1;     // shares that the GPU has under way together, a wave
  int run_keys = 0;    // RunsOf
};

// Of few sequences a list is one wave. Of others it has room for a share of each and a wave
// more, of many for so many waves more, one less if they are more than two waves by themselves.
inline constexpr int kDecodeWaves = 3;

// The GPU has `blocks_at_once` blocks under way, `blocks_per_share` of which have the same share,
// each for other heads. No context is longer than max_keys. waves: for the benchmark, another
// number of waves than follows; 0: what follows.
DecodeCut CutDecodes(int num_tiles, int blocks_per_share, int blocks_at_once, int run_keys,
                     int max_keys, int waves = 0);

// Fills `shares`, cut.num_shares of them and at least as many as tiles: each tile has at least one
// and at most as many as it has runs. Largest first, since blocks start in the order of the list
// and what starts last should be short; alike ones in the order of tiles; then those of padded rows
// and the idle ones. Returns how many are not idle.
int DealDecodes(std::span<const DecodeTile> tiles, const DecodeCut& cut,
                std::span<DecodeShare> shares);

}  // namespace skein::cuda
