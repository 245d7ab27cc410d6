// Every way in which a step plan can be wrong is refused, names its field, and leaves the engine as
// it was.
#include "engine/plan_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/error.h"
#include "tiny_model.h"

namespace skein::test {
namespace {

// An engine with a running sequence in slot 0 (6 of 6 prompt tokens computed, one sampled, blocks 0
// and 1), a prefilling one in slot 1 (4 of 10 computed, block 2), and pictures: 1 (two tiles, the
// first encoded) and 2 (one tile, not encoded).
class PlanCheck : public testing::Test {
 protected:
  PlanCheck() : group_(Options(), 1) {
    group_.Join(1, 16);
    group_.PutPicture(1, {0, 1}, RandomPixels(2, 1));
    group_.PutPicture(2, {2}, RandomPixels(1, 2));
    StepPlan plan;
    plan.new_sequences = {MakeSequence(0, RandomTokens(6, 1)),
                          MakeSequence(1, RandomTokens(10, 2))};
    plan.new_blocks = {0, 0, 0, 1, 1, 2};
    plan.encode_items = {{1, 0, 1}};
    plan.scheduled_slots = {0, 1};
    plan.scheduled_tokens = {6, 4};
    group_.Step(plan);
  }

  static TinyModelOptions Options() {
    TinyModelOptions options;
    options.has_vision = true;
    options.max_num_sequences = 3;
    options.max_step_tokens = 24;
    options.max_model_length = 32;
    return options;
  }

  // A plan that would do: a decode, the rest of a prefill, a new sequence with a picture.
  StepPlan GoodPlan() const {
    StepPlan plan;
    plan.group_epoch = 1;
    plan.step = 2;
    NewSequence fresh = MakeSequence(2, RandomTokens(9, 3));
    fresh.pictures = {{1, 1}};
    plan.new_sequences = {fresh};
    plan.new_blocks = {1, 3, 1, 4, 2, 5, 2, 6};
    plan.scheduled_slots = {0, 1, 2};
    plan.scheduled_tokens = {1, 6, 5};
    return plan;
  }

  // The change makes the plan wrong; the message starts with `field`; the good plan still runs
  // afterwards with the bits of an engine that never saw the wrong one.
  void ExpectRefused(const std::string& field, const std::function<void(StepPlan&)>& change) {
    StepPlan plan = GoodPlan();
    change(plan);
    try {
      group_.engine(0).RunStep(plan);
      FAIL() << "accepted a plan with wrong " << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "INVALID_REQUEST") << error.what();
      EXPECT_EQ(std::string(error.what()).substr(0, field.size()), field);
    }
  }

  StepResult RunGoodPlan() { return group_.engine(0).RunStep(GoodPlan()); }

  TinyGroup group_;
};

TEST_F(PlanCheck, AcceptsAGoodPlan) { EXPECT_EQ(RunGoodPlan().tokens.size(), 2u); }

TEST_F(PlanCheck, RefusalsChangeNothing) {
  TinyGroup untouched(Options(), 1);
  // All of it would do, but for the last sequence's blocks.
  ExpectRefused("newBlocks: slot 2", [&](StepPlan& plan) {
    plan.released_slots = {0};
    plan.released_pictures = {2};
    plan.new_sequences.push_back(MakeSequence(0, RandomTokens(3, 4)));
    plan.new_blocks = {0, 0, 1, 3, 1, 4, 2, 5};
    plan.encode_items = {{1, 1, 2}};
    plan.scheduled_tokens = {3, 6, 5};
  });
  const StepResult after = RunGoodPlan();
  // A fresh engine on the same way, without the refused plan.
  untouched.Join(1, 16);
  untouched.PutPicture(1, {0, 1}, RandomPixels(2, 1));
  StepPlan first;
  first.new_sequences = {MakeSequence(0, RandomTokens(6, 1)), MakeSequence(1, RandomTokens(10, 2))};
  first.new_blocks = {0, 0, 0, 1, 1, 2};
  first.encode_items = {{1, 0, 1}};
  first.scheduled_slots = {0, 1};
  first.scheduled_tokens = {6, 4};
  untouched.Step(first);
  const StepResult expected = untouched.Step(GoodPlan());
  ASSERT_EQ(after.tokens.size(), expected.tokens.size());
  EXPECT_EQ(after.sample_hash, expected.sample_hash);
  for (size_t i = 0; i < after.tokens.size(); ++i) {
    EXPECT_EQ(after.tokens[i].top_logprobs, expected.tokens[i].top_logprobs);
  }
}

TEST_F(PlanCheck, Releases) {
  ExpectRefused("releasedSlots[0]", [](StepPlan& p) { p.released_slots = {2}; });
  ExpectRefused("releasedSlots[0]", [](StepPlan& p) { p.released_slots = {3}; });
  ExpectRefused("releasedSlots[1]", [](StepPlan& p) { p.released_slots = {0, 0}; });
  ExpectRefused("releasedPictures[0]", [](StepPlan& p) { p.released_pictures = {7}; });
  ExpectRefused("releasedPictures[1]", [](StepPlan& p) { p.released_pictures = {2, 2}; });
}

TEST_F(PlanCheck, NewSequences) {
  const std::string path = "newSequences[0]";
  const auto fresh = [](StepPlan& p) -> NewSequence& { return p.new_sequences[0]; };
  ExpectRefused(path, [&](StepPlan& p) { fresh(p).slot = 1; });
  ExpectRefused(path, [&](StepPlan& p) { fresh(p).slot = 3; });
  ExpectRefused(path, [&](StepPlan& p) { fresh(p).slot = -1; });
  ExpectRefused(path + ".tokenIds", [&](StepPlan& p) { fresh(p).token_ids.clear(); });
  ExpectRefused(path + ".tokenIds", [&](StepPlan& p) { fresh(p).token_ids.resize(33); });
  ExpectRefused(path + ".tokenIds", [&](StepPlan& p) { fresh(p).token_ids[3] = 45; });
  ExpectRefused(path + ".tokenIds", [&](StepPlan& p) { fresh(p).token_ids[3] = -1; });
  ExpectRefused(path + ".numPromptTokens", [&](StepPlan& p) { fresh(p).num_prompt_tokens = 10; });
  ExpectRefused(path + ".numPromptTokens", [&](StepPlan& p) { fresh(p).num_prompt_tokens = 0; });
  ExpectRefused(path + ".numComputedTokens",
                [&](StepPlan& p) { fresh(p).num_computed_tokens = 9; });
  ExpectRefused(path + ".pictures[0]", [&](StepPlan& p) { fresh(p).pictures[0].picture_id = 8; });
  ExpectRefused(path + ".pictures[0]",
                [&](StepPlan& p) { fresh(p).pictures[0].first_position = 2; });
  ExpectRefused(path + ".pictures[1]", [&](StepPlan& p) { fresh(p).pictures.push_back({2, 4}); });
  ExpectRefused("newSequences[1]", [&](StepPlan& p) { p.new_sequences.push_back(fresh(p)); });
}

TEST_F(PlanCheck, Sampling) {
  const auto expect = [&](const char* field, const std::function<void(SamplingParams&)>& change) {
    ExpectRefused(std::string("newSequences[0].sampling.") + field,
                  [&](StepPlan& p) { change(p.new_sequences[0].sampling); });
  };
  expect("temperature", [](SamplingParams& s) { s.temperature = -1; });
  expect("temperature", [](SamplingParams& s) { s.temperature = std::nanf(""); });
  expect("topK", [](SamplingParams& s) { s.top_k = -1; });
  expect("topP", [](SamplingParams& s) { s.top_p = 0; });
  expect("topP", [](SamplingParams& s) { s.top_p = 1.5f; });
  expect("minP", [](SamplingParams& s) { s.min_p = -0.1f; });
  expect("repetitionPenalty", [](SamplingParams& s) { s.repetition_penalty = 0; });
  expect("presencePenalty", [](SamplingParams& s) { s.presence_penalty = INFINITY; });
  expect("frequencyPenalty", [](SamplingParams& s) { s.frequency_penalty = std::nanf(""); });
  expect("minTokens", [](SamplingParams& s) { s.min_tokens = -1; });
  expect("numTopLogprobs", [](SamplingParams& s) { s.num_top_logprobs = 21; });
  expect("stopTokenIds[1]", [](SamplingParams& s) { s.stop_token_ids = {3, 45}; });
  expect("logitBiasIds[0]", [](SamplingParams& s) { s.logit_bias_ids = {-2}; });
  expect("logitBiasValues", [](SamplingParams& s) { s.logit_bias_ids = {2}; });
}

TEST_F(PlanCheck, Blocks) {
  ExpectRefused("newBlocks", [](StepPlan& p) { p.new_blocks.pop_back(); });
  ExpectRefused("newBlocks[7]", [](StepPlan& p) { p.new_blocks.back() = 16; });
  ExpectRefused("newBlocks[6]", [](StepPlan& p) { p.new_blocks[6] = 5; });
  // Too few for what is scheduled, one given twice, one that the sequence holds already, more than
  // the longest sequence needs.
  ExpectRefused("newBlocks", [](StepPlan& p) { p.new_blocks.resize(6); });
  ExpectRefused("newBlocks", [](StepPlan& p) { p.new_blocks[7] = 5; });
  ExpectRefused("newBlocks", [](StepPlan& p) { p.new_blocks[1] = 2; });
  ExpectRefused("newBlocks", [](StepPlan& p) { p.new_blocks = test::Blocks(1, 3, 8); });
  StepPlan plan = GoodPlan();
  plan.released_slots = {1};
  plan.new_sequences.clear();
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {1};
  plan.new_blocks = {1, 3};
  EXPECT_THROW(group_.engine(0).RunStep(plan), Error);
}

TEST_F(PlanCheck, Schedule) {
  ExpectRefused("scheduledTokens", [](StepPlan& p) { p.scheduled_tokens.pop_back(); });
  ExpectRefused("scheduledSlots[1]", [](StepPlan& p) { p.scheduled_slots[1] = 0; });
  ExpectRefused("scheduledSlots[2]",
                [](StepPlan& p) { p.new_sequences.clear(), p.new_blocks.resize(4); });
  ExpectRefused("scheduledSlots[0]", [](StepPlan& p) { p.scheduled_slots[0] = -1; });
  ExpectRefused("scheduledTokens[0]", [](StepPlan& p) { p.scheduled_tokens[0] = 0; });
  ExpectRefused("scheduledTokens[0]", [](StepPlan& p) { p.scheduled_tokens[0] = 2; });
  ExpectRefused("scheduledTokens", [](StepPlan& p) {
    // 25 tokens in all: one more than a step takes.
    p.released_slots = {0, 1};
    p.new_sequences = {MakeSequence(0, RandomTokens(25, 1))};
    p.new_blocks = test::Blocks(0, 0, 7);
    p.scheduled_slots = {0};
    p.scheduled_tokens = {25};
  });
}

TEST_F(PlanCheck, Masks) {
  // 45 tokens: two words. Slot 2 is not computed to its end and so samples nothing.
  ExpectRefused("masks", [](StepPlan& p) { p.masked_slots = {0}; });
  ExpectRefused("masks", [](StepPlan& p) { p.masks = {1, 0}; });
  ExpectRefused("maskedSlots[0]", [](StepPlan& p) {
    p.masked_slots = {2};
    p.masks = {1, 0};
  });
  ExpectRefused("maskedSlots[1]", [](StepPlan& p) {
    p.masked_slots = {0, 0};
    p.masks = {1, 0, 1, 0};
  });
  ExpectRefused("maskedSlots[0]", [](StepPlan& p) {
    p.masked_slots = {3};
    p.masks = {1, 0};
  });
  StepPlan plan = GoodPlan();
  plan.masked_slots = {1};
  plan.masks = {0, 1u << 8};
  const StepResult result = group_.engine(0).RunStep(plan);
  ASSERT_EQ(result.tokens.size(), 2u);
  EXPECT_EQ(result.tokens[1].slot, 1);
  EXPECT_EQ(result.tokens[1].token_id, 40);
}

TEST_F(PlanCheck, Pictures) {
  ExpectRefused("encodeItems[0]", [](StepPlan& p) { p.encode_items = {{7, 0, 1}}; });
  ExpectRefused("encodeItems[0]", [](StepPlan& p) { p.encode_items = {{1, 0, 1}}; });
  ExpectRefused("encodeItems[0]", [](StepPlan& p) { p.encode_items = {{1, 1, 3}}; });
  ExpectRefused("encodeItems[0]", [](StepPlan& p) { p.encode_items = {{1, 1, 1}}; });
  ExpectRefused("encodeItems[0]", [](StepPlan& p) { p.encode_items = {{1, -1, 1}}; });
  ExpectRefused("encodeItems[1]", [](StepPlan& p) { p.encode_items = {{1, 1, 2}, {1, 1, 2}}; });
  ExpectRefused("encodeItems[0]", [](StepPlan& p) {
    p.released_pictures = {2};
    p.encode_items = {{2, 0, 1}};
  });
  // Row 5 of the new sequence is the second tile's first.
  ExpectRefused("scheduledSlots[2]", [](StepPlan& p) { p.scheduled_tokens[2] = 6; });
  StepPlan plan = GoodPlan();
  plan.scheduled_tokens[2] = 6;
  plan.encode_items = {{1, 1, 2}};
  EXPECT_EQ(group_.engine(0).RunStep(plan).tokens.size(), 2u);
  // Released before its rows were all computed.
  plan = {};
  plan.group_epoch = 1;
  plan.step = 3;
  plan.released_pictures = {1};
  plan.scheduled_slots = {2};
  plan.scheduled_tokens = {1};
  plan.new_blocks = {2, 7};
  EXPECT_THROW(group_.engine(0).RunStep(plan), Error);
}

TEST_F(PlanCheck, PixelsArePutOnceAndFit) {
  const auto code = [&](uint32_t id, const std::vector<int32_t>& slots, size_t bytes) {
    try {
      group_.engine(0).PutPixels(1, id, slots, std::vector<uint8_t>(bytes));
    } catch (const Error& error) {
      return error.code();
    }
    return std::string();
  };
  constexpr size_t kTile = 16 * 16 * 3;
  EXPECT_EQ(code(1, {3}, kTile), "INVALID_REQUEST");
  EXPECT_EQ(code(3, {8}, kTile), "INVALID_REQUEST");
  EXPECT_EQ(code(3, {3, 3}, 2 * kTile), "INVALID_REQUEST");
  EXPECT_EQ(code(3, {}, 0), "INVALID_REQUEST");
  EXPECT_EQ(code(3, {3}, kTile - 1), "INVALID_REQUEST");
  EXPECT_EQ(code(3, {3}, kTile), "");
  EXPECT_EQ(code(4, {0, 1, 2, 3, 4, 5, 6, 7}, 8 * kTile), "");
  // 12 tiles are resident; 16 is the most.
  EXPECT_EQ(code(5, {0, 1, 2, 3, 4}, 5 * kTile), "INVALID_REQUEST");
}

}  // namespace
}  // namespace skein::test
