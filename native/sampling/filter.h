// Top-k, then top-p, then min-p, over the tokens of one row.
//
// Top-k keeps exactly k tokens (of equals, the lower ids). Top-p keeps the shortest run of the best
// tokens whose mass reaches top_p of the mass that top-k left. Min-p keeps tokens at least min_p
// times as likely as the best one. The best token always stays.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sampling/logit_kernels.h"

namespace skein {

struct TokenFilter {
  int64_t top_k = 0;  // 0: off
  float top_p = 1;    // 1: off
  float min_p = 0;    // 0: off
  float inverse_temperature = 1;
  // Of the whole vocabulary.
  float max_logit = 0;
  // Mass of the whole vocabulary; used by top-p where top-k is off.
  Mass total_mass = 0;
};

// How many of the best tokens stay. `best`: the beginning of the ordered vocabulary, or all of it
// (`is_complete`). Nothing when the answer lies beyond what `best` holds.
std::optional<int64_t> CountKept(std::span<const Candidate> best, bool is_complete,
                                 const TokenFilter& filter);

// The same over all tokens in any order: moves those that stay to the front and returns their
// number. Linear time.
int64_t PartitionKept(std::vector<Candidate>& all, const TokenFilter& filter);

}  // namespace skein
