// What a step took, by part: the parts are within the whole, a rank that waits for another says so,
// and so does one that waits for its plan.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "tiny_model.h"

namespace skein::test {
namespace {

constexpr auto kPause = std::chrono::milliseconds(40);
constexpr int64_t kPauseNs = 40'000'000;

StepPlan Prefill(TinyGroup& group) {
  StepPlan plan;
  plan.group_epoch = group.group_epoch;
  plan.step = group.step++;
  plan.new_sequences = {MakeSequence(0, RandomTokens(9, 1))};
  plan.new_blocks = Blocks(0, 0, 4);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {9};
  return plan;
}

StepPlan Decode(TinyGroup& group) {
  StepPlan plan;
  plan.group_epoch = group.group_epoch;
  plan.step = group.step++;
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {1};
  return plan;
}

// Rank `late` begins after a pause.
std::vector<StepResult> RunAll(TinyGroup& group, const StepPlan& plan, int late = -1) {
  std::vector<StepResult> results(static_cast<size_t>(group.world_size()));
  group.OnAllRanks([&](int rank, Engine& engine) {
    if (rank == late) std::this_thread::sleep_for(kPause);
    results[static_cast<size_t>(rank)] = engine.RunStep(plan);
  });
  return results;
}

TEST(StepTimes, PartsAreWithinTheWhole) {
  TinyGroup group({}, 2);
  group.Join(1);
  for (const StepResult& first : RunAll(group, Prefill(group))) EXPECT_EQ(first.plan_wait_ns, 0);
  for (const StepResult& result : RunAll(group, Decode(group))) {
    EXPECT_GT(result.sampling_ns, 0);
    EXPECT_GT(result.collective_ns, 0);
    EXPECT_LE(result.sampling_ns + result.collective_ns, result.step_ns);
  }
}

TEST(StepTimes, ARankThatWaitsForAnotherSaysSo) {
  TinyGroup group({}, 2);
  group.Join(1);
  RunAll(group, Prefill(group));
  const std::vector<StepResult> results = RunAll(group, Decode(group), 1);
  EXPECT_GE(results[0].collective_ns, kPauseNs / 2);
  EXPECT_GE(results[0].step_ns, kPauseNs / 2);
  // The one that was late waits for nobody; its wait for the plan is its own.
  EXPECT_LT(results[1].collective_ns, kPauseNs / 2);
  EXPECT_GE(results[1].plan_wait_ns, kPauseNs);
}

TEST(StepTimes, AWaitForAPlanIsNoPartOfTheStep) {
  TinyGroup group({}, 1);
  group.Join(1);
  EXPECT_EQ(RunAll(group, Prefill(group))[0].plan_wait_ns, 0);
  std::this_thread::sleep_for(kPause);
  const StepResult result = RunAll(group, Decode(group))[0];
  EXPECT_GE(result.plan_wait_ns, kPauseNs);
  EXPECT_LT(result.step_ns, kPauseNs);
  EXPECT_EQ(result.collective_ns, 0);
  // Another epoch waits for work at first, not for a plan.
  group.Join(2);
  EXPECT_EQ(RunAll(group, Prefill(group))[0].plan_wait_ns, 0);
}

}  // namespace
}  // namespace skein::test
