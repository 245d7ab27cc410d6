// Where a sampler's logits come from when they are not in host memory: rows that need nothing but
// their best token are judged where they lie, the others are brought over whole.
#pragma once

#include <span>
#include <vector>

#include "core/tensor.h"
#include "cpu/sampling_kernels.h"

namespace skein {

// A row of which only the highest token is wanted, under noise unless it is greedy.
struct BestRequest {
  int64_t row = 0;
  bool is_greedy = true;
  float inverse_temperature = 1;
  NoiseKey key;
};

struct BestFinding {
  NoisyToken best;
  float max_logit = kBannedLogit;
};

class LogitsSource {
 public:
  virtual ~LogitsSource() = default;
  // findings [requests]: as of the first `count` logits of each row, clamped, token ids from
  // first_id. fetched [whole]: host copies of these rows, which the caller may change, valid until
  // the next call.
  virtual void Read(const Matrix& logits, int64_t count, int32_t first_id,
                    std::span<const BestRequest> requests, std::span<BestFinding> findings,
                    std::span<const int64_t> whole, std::span<float*> fetched) = 0;
};

}  // namespace skein
