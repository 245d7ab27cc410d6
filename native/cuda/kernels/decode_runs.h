// How a decode's context is cut in runs, and what a block of the decode kernel is told to do.
// Includes nothing of CUDA: the host deals the runs out (cuda/decode_list.h).
#pragma once

#include <cstdint>

#include "core/random_block.h"

namespace skein::cuda {

// The context is cut in runs at absolute positions, whatever the batch: run_keys keys each below 16
// run_keys, twice as many each up to four times that, and so on. Each run leaves one partial result
// and they are combined in order, so bits depend on a row's own context only; and a context of
// 32,768 keys leaves 88 partial results instead of 256, which bounds the buffer.
struct KeyRun {
  int32_t begin;
  int32_t length;
};

inline constexpr int kRunsOfFirstLength = 16;
inline constexpr int kRunLengths = 4;

SKEIN_HOST_DEVICE inline KeyRun RunAt(int index, int run_keys) {
  int begin = 0, end = kRunsOfFirstLength * run_keys, length = run_keys;
  for (int level = 1; level < kRunLengths; ++level) {
    const int count = (end - begin) / length;
    if (index < count) break;
    index -= count;
    begin = end;
    end *= 4;
    length *= 2;
  }
  return {begin + index * length, length};
}

SKEIN_HOST_DEVICE inline int RunsOf(int num_keys, int run_keys) {
  int runs = 0, begin = 0, end = kRunsOfFirstLength * run_keys, length = run_keys;
  for (int level = 1; level < kRunLengths; ++level) {
    if (num_keys <= end) break;
    runs += (end - begin) / length;
    begin = end;
    end *= 4;
    length *= 2;
  }
  return runs + (num_keys - begin + length - 1) / length;
}

// A share of one sequence's work, an entry of the list that a step brings along: runs index, index
// + count, ... of its `count` shares. With all that a block asks of its sequence, since what it
// would have to look up next would stand before its first keys.
struct alignas(8) DecodeShare {
  int32_t tile;            // where its partial results meet; -1: nothing to do
  int32_t context_length;  // its query row stands at the end; 0: a padded row, which becomes zero
  int32_t query_row;
  int32_t table_row;  // of the block tables
  int32_t index, count;
};

}  // namespace skein::cuda
