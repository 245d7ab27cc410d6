// Courses of step plans and pictures over the state of one epoch, without what computes: what is
// accepted lays out rows within the limits.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "engine/plan_check.h"
#include "engine/step_builder.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/targets.h"
#include "kv/kv_layout.h"

namespace skein::fuzz {
namespace {

constexpr int64_t kMaxSequences = 4, kTileSlots = 5, kTokensPerTile = 2, kTileBytes = 3;
constexpr int kMaxPlans = 12, kMaxEntries = 6;

EngineLimits Limits() {
  EngineLimits limits;
  limits.vocab_size = 40;
  limits.vocab_valid_rows = 40;
  limits.max_step_tokens = 12;
  limits.max_model_length = 20;
  limits.max_top_logprobs = 20;
  limits.block_size = 4;
  limits.num_kv_blocks = 9;
  limits.tokens_per_tile = kTokensPerTile;
  return limits;
}

// Mostly what could be meant, now and then anything that the addon lets through.
int32_t Index(FuzzInput& in, int64_t bound) {
  return static_cast<int32_t>(in.Bits(1) < 8 ? in.In(0, INT32_MAX) : in.In(0, bound));
}

std::vector<int32_t> Indices(FuzzInput& in, int64_t bound, int most = kMaxEntries) {
  std::vector<int32_t> values(static_cast<size_t>(in.In(0, most)));
  for (int32_t& value : values) value = Index(in, bound);
  return values;
}

SamplingParams Sampling(FuzzInput& in) {
  SamplingParams to;
  if (in.Flag()) return to;
  to.temperature = in.Float();
  to.top_k = Index(in, 50);
  to.top_p = in.Float();
  to.min_p = in.Float();
  to.repetition_penalty = in.Float();
  to.presence_penalty = in.Float();
  to.frequency_penalty = in.Float();
  to.min_tokens = Index(in, 5);
  to.num_top_logprobs = Index(in, 20);
  to.stop_token_ids = Indices(in, 40);
  to.logit_bias_ids = Indices(in, 40);
  for (size_t i = in.Flag() ? to.logit_bias_ids.size() : 0; i > 0; --i) {
    to.logit_bias_values.push_back(in.Float());
  }
  return to;
}

NewSequence Sequence(FuzzInput& in) {
  NewSequence to;
  to.slot = Index(in, kMaxSequences);
  to.token_ids = Indices(in, 39, 24);
  const auto known = static_cast<int64_t>(to.token_ids.size());
  to.num_prompt_tokens = in.Flag() ? known : in.Count(known);
  to.num_computed_tokens = in.Flag() ? 0 : in.Count(known);
  to.sampling = Sampling(in);
  for (int64_t i = in.In(0, 2); i > 0; --i) {
    to.pictures.push_back({static_cast<uint32_t>(in.In(0, 3)), Index(in, 20)});
  }
  return to;
}

StepPlan Plan(FuzzInput& in) {
  StepPlan to;
  to.released_slots = Indices(in, kMaxSequences, 2);
  for (const int32_t id : Indices(in, 3, 2)) {
    to.released_pictures.push_back(static_cast<uint32_t>(id));
  }
  for (int64_t i = in.In(0, 2); i > 0; --i) to.new_sequences.push_back(Sequence(in));
  for (int64_t i = in.In(0, kMaxEntries); i > 0; --i) {
    to.new_blocks.push_back(Index(in, kMaxSequences));
    to.new_blocks.push_back(Index(in, 9));
  }
  if (in.Bits(1) == 1) to.new_blocks.push_back(0);
  for (int64_t i = in.In(0, 2); i > 0; --i) {
    to.encode_items.push_back(
        {static_cast<uint32_t>(in.In(0, 3)), Index(in, kTileSlots), Index(in, kTileSlots)});
  }
  to.scheduled_slots = Indices(in, kMaxSequences, 4);
  to.scheduled_tokens = Indices(in, 12, 4);
  if (in.Flag()) to.scheduled_tokens.resize(to.scheduled_slots.size(), 1);
  to.graph_bucket = in.Flag() ? 0 : Index(in, 5);
  if (in.Bits(1) < 32) {
    to.masked_slots = Indices(in, kMaxSequences, 2);
    to.masks.resize(2 * to.masked_slots.size() + (in.Bits(1) == 1 ? 1 : 0));
  }
  return to;
}

// The state of an epoch without what computes.
class State {
 public:
  State() : sequences_(kMaxSequences), pictures_(kTileSlots, kTileBytes), builder_(Shape()) {}

  void PutPicture(FuzzInput& in) {
    const std::vector<int32_t> slots = Indices(in, kTileSlots, 3);
    const auto id = static_cast<uint32_t>(in.In(0, 3));
    std::vector<uint8_t> pixels(slots.size() * kTileBytes + (in.Bits(1) == 1 ? 1 : 0));
    pictures_.Put(id, slots, std::move(pixels));
  }

  void Run(const StepPlan& plan) {
    CheckStepPlan(plan, limits_, sequences_, pictures_);
    for (const int32_t slot : plan.released_slots) sequences_.Release(slot);
    for (const uint32_t id : plan.released_pictures) pictures_.Release(id);
    StepBuilder::Apply(plan, sequences_, pictures_);
    for (const EncodeItem& item : plan.encode_items) {
      for (int32_t tile = item.tile_start; tile < item.tile_end; ++tile) {
        FUZZ_CHECK(pictures_.TilePixels(item.picture_id, tile) != nullptr);
      }
    }
    for (const EncodeItem& item : plan.encode_items) {
      for (int32_t tile = item.tile_start; tile < item.tile_end; ++tile) {
        pictures_.MarkEncoded(item.picture_id, tile);
      }
    }
    if (!plan.scheduled_slots.empty()) Decode(plan);
  }

 private:
  StepBuilder::Shape Shape() const {
    StepBuilder::Shape shape;
    shape.block_size = limits_.block_size;
    shape.max_step_tokens = limits_.max_step_tokens;
    shape.max_sequences = kMaxSequences;
    shape.tokens_per_tile = limits_.tokens_per_tile;
    return shape;
  }

  void Decode(const StepPlan& plan) {
    const StepMetadata step =
        builder_.Build(plan, StepBuilder::SamplesEveryRow(plan, sequences_) ? plan.graph_bucket : 0,
                       sequences_, pictures_);
    CheckRows(step);
    for (size_t i = 0; i < plan.scheduled_slots.size(); ++i) {
      sequences_.at(plan.scheduled_slots[i]).num_computed += plan.scheduled_tokens[i];
    }
    for (const int32_t slot : step.sample_slots) sequences_.at(slot).token_ids.push_back(1);
  }

  // What the kernels rely on.
  void CheckRows(const StepMetadata& step) const {
    const auto rows = static_cast<int64_t>(step.token_ids.size());
    FUZZ_CHECK(rows > 0 && rows <= limits_.max_step_tokens);
    FUZZ_CHECK(step.positions.size() == step.token_ids.size());
    FUZZ_CHECK(step.slot_mapping.size() == step.token_ids.size());
    for (const int32_t id : step.token_ids) FUZZ_CHECK(id >= 0 && id < limits_.vocab_size);
    for (const int32_t at : step.positions) FUZZ_CHECK(at >= 0 && at < limits_.max_model_length);
    for (const int64_t at : step.slot_mapping) {
      FUZZ_CHECK(at >= (step.graph_bucket == 0 ? 0 : -1));
      FUZZ_CHECK(at < limits_.num_kv_blocks * limits_.block_size);
    }
    for (const int32_t block : step.block_tables) {
      FUZZ_CHECK(block >= 0 && block < limits_.num_kv_blocks);
    }
    for (const SequenceSpan& span : step.spans) CheckSpan(step, span, rows);
    for (const int32_t row : step.sample_rows) FUZZ_CHECK(row >= 0 && row < rows);
    for (const int32_t row : builder_.picture_rows()) FUZZ_CHECK(row >= 0 && row < rows);
    for (const int32_t row : builder_.tile_cache_rows()) {
      FUZZ_CHECK(row >= 0 && row < kTileSlots * kTokensPerTile);
    }
  }

  void CheckSpan(const StepMetadata& step, const SequenceSpan& span, int64_t rows) const {
    FUZZ_CHECK(span.query_start >= 0 && span.num_queries > 0);
    FUZZ_CHECK(span.query_start + span.num_queries <= rows);
    FUZZ_CHECK(span.context_length <= limits_.max_model_length);
    const int64_t end = (span.table_row + 1) * step.max_blocks_per_sequence;
    FUZZ_CHECK(end <= static_cast<int64_t>(step.block_tables.size()));
    FUZZ_CHECK(BlocksFor(span.context_length, limits_.block_size) <= step.max_blocks_per_sequence);
  }

  const EngineLimits limits_ = Limits();
  SequenceTable sequences_;
  PictureStore pictures_;
  StepBuilder builder_;
};

}  // namespace

void RunStepPlan(const uint8_t* data, size_t size) {
  FuzzInput in(data, size);
  State state;
  for (int i = 0; i < kMaxPlans && !in.is_empty(); ++i) {
    try {
      if (in.In(0, 3) == 0) {
        state.PutPicture(in);
      } else {
        state.Run(Plan(in));
      }
    } catch (const Error& error) {
      FUZZ_CHECK(error.code() == "INVALID_REQUEST");
    }
  }
}

}  // namespace skein::fuzz
