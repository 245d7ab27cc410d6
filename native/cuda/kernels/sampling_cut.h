// Rows whose candidates do not hold what their filter keeps: where the cut is, over all ranks, and
// the best noisy token before it; the same bits as sampling/filter.h and
// sampling/logit_kernels.h give.
//
// Tokens in their order are descending integers (logit, then id: no two are equal), of 55 bits that
// count. Five passes find the cut's digits from the top. A pass: CountDigits, the ranks' histograms
// are gathered, FindDigits. A row that is cut by number and then by mass takes ten.
#pragma once

#include <cstdint>

#include "cuda/kernels/sampling.h"
#include "cuda/stream.h"

namespace skein::cuda {

constexpr int kCutDigitBits = 11;
constexpr int kCutDigits = 1 << kCutDigitBits;
constexpr int kCutPasses = 5;
constexpr int kFirstCutShift = kCutDigitBits * (kCutPasses - 1);

struct CutRow {
  uint64_t seed;
  uint64_t position;
  int64_t row;    // of the logits
  int64_t top_k;  // at most the tokens of all ranks; 0: off
  uint32_t choice_index;
  float inverse_temperature;
  float max_logit;  // of all ranks
  float top_p;      // 1: off
  float min_p;      // 0: off
};

// What is known of a row's cut.
struct Cut {
  // Of the last token that is kept; later digits are 0. Once it is found, exactly those from here
  // on are kept.
  uint64_t prefix;
  // Of the tokens whose digits so far are higher.
  int64_t count_above;
  unsigned long long mass_above;
  double wanted_mass;  // where it is cut by mass
  int32_t shift;       // of the next digit
  bool is_by_mass;
  bool is_found;
};

struct CutHistogram {
  unsigned long long masses[kCutDigits];
  uint32_t counts[kCutDigits];
};

struct CutStep {
  const float* logits;
  int64_t stride;
  int32_t count;
  int32_t first_id;
  int32_t num_rows;
  int32_t world_size;
  const CutRow* rows;                   // [num_rows]
  Cut* cuts;                            // [num_rows]
  CutHistogram* histograms;             // [num_rows], the rank's; zeros before the first pass
  const CutHistogram* rank_histograms;  // [world_size, num_rows]
  BestToken* parts;                     // [num_rows, NumChunks]
  BestToken* chosen;                    // [num_rows], the rank's
};

// Adds the rank's tokens to its histograms.
void CountDigits(const CutStep& step, Stream& stream);
// Takes the digit at which the cut is; leaves zeros in the rank's histograms.
void FindDigits(const CutStep& step, Stream& stream);
// After the last pass.
void ChooseBeforeCuts(const CutStep& step, Stream& stream);

}  // namespace skein::cuda
