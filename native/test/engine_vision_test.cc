// Pictures through the engine: the tower cut over the ranks or whole on each, chunks that cut
// inside a picture, passes of tiles.
#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/engine.h"
#include "kv/kv_layout.h"
#include "tiny_model.h"

namespace skein::test {
namespace {

constexpr int64_t kTokensPerTile = 4;

// Tokens 0 .. 4 are text, then the rows of five tiles, then text: 5 + 20 + 6.
NewSequence PictureSequence(int32_t slot, uint32_t picture_id) {
  NewSequence sequence = MakeSequence(slot, RandomTokens(5 + 5 * kTokensPerTile + 6, 21));
  sequence.pictures = {{picture_id, 5}};
  return sequence;
}

StepPlan EncodePlan(uint32_t picture_id, int32_t start, int32_t end) {
  StepPlan plan;
  plan.encode_items = {{picture_id, start, end}};
  return plan;
}

// Log-probabilities after the prompt, prefilled in these chunks.
std::vector<float> Prefill(TinyGroup& group, const NewSequence& sequence,
                           const std::vector<int32_t>& chunks) {
  StepResult result;
  int32_t position = 0, num_blocks = 0;
  for (const int32_t chunk : chunks) {
    StepPlan plan;
    if (position == 0) plan.new_sequences = {sequence};
    position += chunk;
    const auto needed = static_cast<int32_t>(BlocksFor(position, 4));
    plan.new_blocks = Blocks(sequence.slot, num_blocks, needed - num_blocks);
    num_blocks = needed;
    plan.scheduled_slots = {sequence.slot};
    plan.scheduled_tokens = {chunk};
    result = group.Step(plan);
  }
  StepPlan release;
  release.released_slots = {sequence.slot};
  group.Step(release);
  EXPECT_EQ(result.tokens.size(), 1u);
  std::vector<float> by_token(45, 0);
  for (size_t i = 0; i < result.tokens[0].top_ids.size(); ++i) {
    by_token[static_cast<size_t>(result.tokens[0].top_ids[i])] = result.tokens[0].top_logprobs[i];
  }
  return by_token;
}

std::vector<float> EncodeAndPrefill(TinyGroup& group, uint32_t pixel_seed = 3) {
  group.Join(group.group_epoch + 1);
  group.PutPicture(9, {4, 2, 0, 7, 1}, RandomPixels(5, pixel_seed));
  group.Step(EncodePlan(9, 0, 5));
  return Prefill(group, PictureSequence(0, 9), {31});
}

TinyModelOptions VisionOptions(bool is_6b_like, VisionParallel parallel,
                               DType type = DType::kFloat32) {
  TinyModelOptions options;
  options.has_vision = true;
  options.is_6b_like = is_6b_like;
  options.vision_parallel = parallel;
  options.compute_type = type;
  return options;
}

float MaxDifference(const std::vector<float>& a, const std::vector<float>& b) {
  float difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(a[i] - b[i]));
  return difference;
}

TEST(EngineVision, EveryWorldSizeAndCutGivesTheSameLogProbabilities) {
  for (const bool is_6b_like : {true, false}) {
    TinyGroup alone(VisionOptions(is_6b_like, VisionParallel::kTensor), 1);
    const std::vector<float> expected = EncodeAndPrefill(alone);
    // The picture is seen at all.
    EXPECT_GT(MaxDifference(EncodeAndPrefill(alone, 4), expected), 1e-3f);
    for (const VisionParallel parallel : {VisionParallel::kTensor, VisionParallel::kData}) {
      for (const int world_size : {2, 3, 4, 5}) {
        TinyGroup group(VisionOptions(is_6b_like, parallel), world_size);
        EXPECT_LT(MaxDifference(EncodeAndPrefill(group), expected), 1e-5f)
            << world_size << " ranks, 6b-like " << is_6b_like;
      }
    }
  }
}

// With a decoder that is not cut (world size 1) there is nothing but the tower to differ; dealt-out
// tiles keep every bit, so at any world size the pass that a tile was in makes no difference.
TEST(EngineVision, PassesAndChunksKeepEveryBit) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (const VisionParallel parallel : {VisionParallel::kTensor, VisionParallel::kData}) {
      TinyGroup group(VisionOptions(true, parallel, type), 2);
      const std::vector<float> whole = EncodeAndPrefill(group);
      // Tiles one by one, between chunks that cut inside the picture, each just in time.
      group.Join(group.group_epoch + 1);
      group.PutPicture(9, {0, 1, 2, 3, 4}, RandomPixels(5, 3));
      group.Step(EncodePlan(9, 3, 5));
      group.Step(EncodePlan(9, 1, 3));
      group.Step(EncodePlan(9, 0, 1));
      EXPECT_EQ(Prefill(group, PictureSequence(3, 9), {3, 4, 1, 9, 8, 5, 1}), whole);
    }
  }
}

// Weights and inputs keep three bits of mantissa; what a tile becomes depends on nothing but itself
// all the same, and, where towers are whole, not on the number of ranks.
TEST(EngineVision, ATowerInFloat8IsNearAndKeepsItsBits) {
  for (const bool is_6b_like : {true, false}) {
    const auto expect_near = [&](TinyModelOptions options, int world_size) {
      TinyGroup plain(options, world_size);
      const std::vector<float> expected = EncodeAndPrefill(plain);
      options.quantizes_tower = true;
      TinyGroup group(options, world_size);
      const std::vector<float> whole = EncodeAndPrefill(group);
      EXPECT_LT(MaxDifference(whole, expected), 0.1f);
      EXPECT_GT(MaxDifference(whole, expected), 1e-5f) << "nothing is quantised";
      group.Join(group.group_epoch + 1);
      group.PutPicture(9, {0, 1, 2, 3, 4}, RandomPixels(5, 3));
      group.Step(EncodePlan(9, 3, 5));
      group.Step(EncodePlan(9, 0, 3));
      EXPECT_EQ(Prefill(group, PictureSequence(3, 9), {3, 4, 1, 9, 8, 5, 1}), whole);
      return whole;
    };
    for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
      const TinyModelOptions cut = VisionOptions(is_6b_like, VisionParallel::kTensor, type);
      const std::vector<float> alone = expect_near(cut, 1);
      expect_near(cut, 2);
      const TinyModelOptions dealt = VisionOptions(is_6b_like, VisionParallel::kData, type);
      const std::vector<float> dealt_out = expect_near(dealt, 3);
      // A decoder that is cut, of activations that are rounded, rounds others.
      EXPECT_LT(MaxDifference(dealt_out, alone), type == DType::kFloat32 ? 1e-5f : 2e-2f);
    }
  }
}

TEST(EngineVision, TilesEncodedInTheStepThatNeedsThem) {
  TinyGroup group(VisionOptions(true, VisionParallel::kData), 3);
  const std::vector<float> whole = EncodeAndPrefill(group);
  group.Join(group.group_epoch + 1);
  group.PutPicture(9, {0, 1, 2, 3, 4}, RandomPixels(5, 3));
  StepPlan plan = EncodePlan(9, 0, 2);
  plan.new_sequences = {PictureSequence(0, 9)};
  plan.new_blocks = Blocks(0, 0, 8);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {13};
  group.Step(plan);
  plan = EncodePlan(9, 2, 5);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {18};
  const StepResult result = group.Step(plan);
  ASSERT_EQ(result.tokens.size(), 1u);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(result.tokens[0].top_logprobs[i],
              whole[static_cast<size_t>(result.tokens[0].top_ids[i])]);
  }
}

TEST(EngineVision, TwoPicturesKeepTheirPlaces) {
  TinyGroup group(VisionOptions(false, VisionParallel::kTensor), 1);
  const auto run = [&](uint32_t first, uint32_t second) {
    group.Join(group.group_epoch + 1);
    group.PutPicture(1, {0, 1}, RandomPixels(2, 30));
    group.PutPicture(2, {2, 3}, RandomPixels(2, 31));
    StepPlan plan;
    plan.encode_items = {{2, 0, 2}, {1, 0, 2}};
    group.Step(plan);
    NewSequence sequence = MakeSequence(0, RandomTokens(24, 22));
    sequence.pictures = {{first, 2}, {second, 12}};
    return Prefill(group, sequence, {24});
  };
  EXPECT_EQ(run(1, 2), run(1, 2));
  EXPECT_GT(MaxDifference(run(1, 2), run(2, 1)), 1e-4f);
}

TEST(EngineVision, SlotsOfAReleasedPictureCanBeUsedAgain) {
  TinyGroup group(VisionOptions(true, VisionParallel::kTensor), 1);
  const std::vector<float> expected = EncodeAndPrefill(group);
  group.Join(group.group_epoch + 1);
  group.PutPicture(1, {0, 1, 2, 3, 4}, RandomPixels(5, 77));
  group.Step(EncodePlan(1, 0, 5));
  // The pixels of the next picture may arrive before the plan that releases the first.
  group.PutPicture(9, {0, 1, 2, 3, 4}, RandomPixels(5, 3));
  StepPlan plan = EncodePlan(9, 0, 5);
  plan.group_epoch = group.group_epoch;
  plan.step = group.step;
  EXPECT_THROW(group.engine(0).RunStep(plan), Error);
  plan.released_pictures = {1};
  group.Step(plan);
  EXPECT_EQ(Prefill(group, PictureSequence(0, 9), {31}), expected);
}

}  // namespace
}  // namespace skein::test
