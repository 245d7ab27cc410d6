// Warming up: it runs every kind of step, leaves nothing behind, and an abort ends it.
#include "engine/warm_up.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <thread>

#include "core/error.h"
#include "tiny_model.h"

namespace skein::test {
namespace {

TinyModelOptions Options() {
  TinyModelOptions options;
  options.has_vision = true;
  options.graph_buckets = {1, 2, 4, 6};
  return options;
}

StepPlan Prefill() {
  StepPlan plan;
  plan.new_sequences = {MakeSequence(0, RandomTokens(12, 8))};
  plan.new_blocks = Blocks(0, 0, 3);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {12};
  return plan;
}

TEST(WarmUp, RunsEveryBucketTwiceFromTheLargestAndReleasesEverything) {
  const LoadPlan load = MakeTinyPlan(Options(), 1, 0);
  const std::vector<StepPlan> plans = MakeWarmUpPlans(load, 64);
  std::vector<int32_t> buckets;
  int64_t most_tokens = 0;
  std::vector<bool> is_live(6, false);
  uint64_t step = 0;
  for (const StepPlan& plan : plans) {
    EXPECT_EQ(plan.step, ++step);
    if (plan.graph_bucket != 0) {
      buckets.push_back(plan.graph_bucket);
      EXPECT_EQ(plan.scheduled_slots.size(), static_cast<size_t>(plan.graph_bucket));
    }
    for (const int32_t slot : plan.released_slots) is_live[static_cast<size_t>(slot)] = false;
    for (const NewSequence& fresh : plan.new_sequences) {
      EXPECT_FALSE(is_live[static_cast<size_t>(fresh.slot)]);
      is_live[static_cast<size_t>(fresh.slot)] = true;
    }
    int64_t tokens = 0;
    for (const int32_t count : plan.scheduled_tokens) tokens += count;
    most_tokens = std::max(most_tokens, tokens);
  }
  // And once more for a step that runs ahead with a filter.
  EXPECT_EQ(buckets, (std::vector<int32_t>{6, 6, 4, 4, 2, 2, 1, 1, 1}));
  EXPECT_EQ(most_tokens, load.max_step_tokens);
  EXPECT_EQ(is_live, std::vector<bool>(6, false));
}

// A step may hold more tokens than one sequence: several prompts fill it, as far as there are
// blocks.
TEST(WarmUp, TheGreatestStepTakesSeveralPrompts) {
  LoadPlan load = MakeTinyPlan(Options(), 1, 0);
  load.max_model_length = 20;
  load.max_step_tokens = 50;
  for (const int64_t blocks : {64, 8}) {
    const StepPlan first = MakeWarmUpPlans(load, blocks).front();
    const int64_t room = blocks * load.block_size;
    EXPECT_EQ(std::accumulate(first.scheduled_tokens.begin(), first.scheduled_tokens.end(), 0),
              std::min<int64_t>(50, room));
    std::set<int32_t> taken;
    for (size_t i = 1; i < first.new_blocks.size(); i += 2) {
      EXPECT_LT(first.new_blocks[i], blocks);
      EXPECT_TRUE(taken.insert(first.new_blocks[i]).second);
    }
  }
}

TEST(WarmUp, LeavesNothingBehind) {
  for (const int world_size : {1, 2}) {
    for (const VisionParallel mode : {VisionParallel::kTensor, VisionParallel::kData}) {
      SCOPED_TRACE(testing::Message() << "world size " << world_size);
      TinyModelOptions options = Options();
      options.vision_parallel = mode;
      TinyGroup warm(options, world_size);
      options.graph_buckets.clear();
      TinyGroup cold(options, world_size);
      // Fewer blocks than rows of a step or sequences, too.
      for (const int64_t blocks : {64, 3}) {
        warm.Join(warm.group_epoch + 1, blocks);
        cold.Join(cold.group_epoch + 1, blocks);
        EXPECT_GT(warm.engine(0).progress().collectives, cold.engine(0).progress().collectives);
        EXPECT_EQ(warm.engine(0).progress().last_step, 0u);
        // Picture 0 and every slot are free again.
        warm.PutPicture(0, {0, 1, 2}, RandomPixels(3, 1));
        const StepResult after = warm.Step(Prefill()), expected = cold.Step(Prefill());
        ASSERT_EQ(after.tokens.size(), 1u);
        EXPECT_EQ(after.tokens[0].token_id, expected.tokens[0].token_id);
        EXPECT_EQ(after.tokens[0].top_logprobs, expected.tokens[0].top_logprobs);
      }
    }
  }
}

TEST(WarmUp, RefusesABucketThatNoStepCanFill) {
  TinyModelOptions options;
  options.graph_buckets = {1, 7};
  TinyGroup group(options, 1);
  try {
    group.Join(1);
    FAIL() << "7 rows of 6 sequences";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "INVALID_REQUEST");
  }
}

// Rank 1 is another program, as it were, which does not warm up: rank 0 waits for it.
TEST(WarmUp, AnAbortEndsIt) {
  TinyModelOptions options;
  options.graph_buckets = {1};
  TinyGroup warm(options, 2);
  options.graph_buckets.clear();
  TinyGroup cold(options, 2);
  GroupOptions group;
  group.group_epoch = 1;
  group.world_size = 2;
  group.collective = CollectiveKind::kSharedMemory;
  std::vector<std::string> addresses{warm.engine(0).PrepareGroup(group)};
  group.rank = 1;
  addresses.push_back(cold.engine(1).PrepareGroup(group));
  std::string code;
  std::thread waiting([&] {
    try {
      warm.engine(0).JoinGroup(1, addresses, 8, 10000);
    } catch (const Error& error) {
      code = error.code();
    }
  });
  cold.engine(1).JoinGroup(1, addresses, 8, 10000);
  while (warm.engine(0).progress().collectives == 0) std::this_thread::yield();
  warm.engine(0).Abort(1);
  waiting.join();
  EXPECT_EQ(code, "ABORTED");
  StepPlan plan;
  plan.group_epoch = 1;
  plan.step = 1;
  EXPECT_THROW(warm.engine(0).RunStep(plan), Error);
}

}  // namespace
}  // namespace skein::test
