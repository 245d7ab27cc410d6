// Decides whether a step plan may run on the present state, as a whole and before anything changes.
// Pure: reads only.
#pragma once

#include "engine/engine.h"
#include "engine/picture_store.h"
#include "engine/sequence_table.h"

namespace skein {

struct EngineLimits {
  int64_t vocab_size = 0, vocab_valid_rows = 0;
  int64_t max_step_tokens = 0, max_model_length = 0, max_top_logprobs = 0;
  int64_t block_size = 0, num_kv_blocks = 0;
  int64_t tokens_per_tile = 0;  // 0: no vision
};

// Throws INVALID_REQUEST naming the field, e.g. "newSequences[0].tokenIds: ...".
void CheckStepPlan(const StepPlan& plan, const EngineLimits& limits, const SequenceTable& sequences,
                   const PictureStore& pictures);

}  // namespace skein
