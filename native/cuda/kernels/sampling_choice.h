// Tokens chosen on the device from what all ranks found, so that the next step may begin before the
// host knows them; the host finds the same tokens from the same findings.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/kernels/sampling.h"
#include "cuda/kernels/sampling_cut.h"
#include "cuda/stream.h"

namespace skein::cuda {

struct ChoiceStep {
  int32_t num_rows;
  int32_t world_size;
  const SamplingRow* rows;  // [num_rows]
  // Of all ranks: blocks as sampling/logits_source.h has them, and what each chose before the cuts.
  const char* blocks;  // [world_size, block_bytes]
  size_t block_bytes;
  const BestToken* kept;  // [world_size, num_kept]
  int32_t num_kept;
  int32_t* last_tokens;  // [slots]
  // In the host's pinned memory: copies of the two, and the tokens [num_rows]. At multiples of 16.
  char* host_blocks;
  BestToken* host_kept;
  int32_t* host_tokens;
  SamplingClock clock;
};

// What cuts take from the findings: the row's highest logit, and its mass where that is cut.
// Row cut_rows[SamplingRow::cut] and its Cut are those of a row; fields that the host knows are
// filled.
void PrepareCuts(const ChoiceStep& step, CutRow* cut_rows, Cut* cuts, Stream& stream);
// The best of all ranks, of rows with a cut before it.
void ChooseTokens(const ChoiceStep& step, Stream& stream);

}  // namespace skein::cuda
