// The engine over a tiny random model: what a sequence gets depends on nothing but itself, ranks
// agree, epochs and aborts behave.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "core/error.h"
#include "kv/kv_layout.h"
#include "tiny_model.h"

namespace skein::test {
namespace {

// What one step sampled for one sequence: the chosen token and the 20 best log-probabilities.
struct Sample {
  int32_t token_id = 0;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
  bool operator==(const Sample&) const = default;
};

Sample SampleOf(const StepResult& result, int32_t slot) {
  for (const SampledToken& token : result.tokens) {
    if (token.slot == slot) return {token.token_id, token.top_ids, token.top_logprobs};
  }
  ADD_FAILURE() << "slot " << slot << " was not sampled";
  return {};
}

// Greedy generation of one sequence in the given chunks (the rest of the prompt in one), blocks
// from `first_block` on.
std::vector<Sample> Generate(TinyGroup& group, NewSequence sequence, int num_tokens,
                             const std::vector<int32_t>& chunks = {}, int32_t first_block = 0) {
  const int32_t slot = sequence.slot;
  const auto length = static_cast<int32_t>(sequence.token_ids.size());
  std::vector<int32_t> sizes = chunks;
  int32_t left = length;
  for (const int32_t size : chunks) left -= size;
  if (left > 0) sizes.push_back(left);
  for (int i = 1; i < num_tokens; ++i) sizes.push_back(1);
  std::vector<Sample> samples;
  int32_t position = 0, num_blocks = 0;
  for (const int32_t size : sizes) {
    StepPlan plan;
    if (position == 0) plan.new_sequences.push_back(sequence);
    position += size;
    const auto needed = static_cast<int32_t>(BlocksFor(position, 4));
    plan.new_blocks = Blocks(slot, first_block + num_blocks, needed - num_blocks);
    num_blocks = needed;
    plan.scheduled_slots = {slot};
    plan.scheduled_tokens = {size};
    const StepResult result = group.Step(plan);
    if (position >= length) {
      samples.push_back(SampleOf(result, slot));
    } else {
      EXPECT_TRUE(result.tokens.empty());
    }
  }
  StepPlan release;
  release.released_slots = {slot};
  group.Step(release);
  return samples;
}

void ExpectClose(const std::vector<Sample>& a, const std::vector<Sample>& b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token_id, b[i].token_id) << "token " << i;
    for (size_t k = 0; k < a[i].top_logprobs.size(); ++k) {
      EXPECT_NEAR(a[i].top_logprobs[k], b[i].top_logprobs[k], tolerance) << "token " << i;
    }
  }
}

std::string CodeOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

class EngineTypes : public testing::TestWithParam<DType> {
 protected:
  TinyModelOptions Options() const {
    TinyModelOptions options;
    options.compute_type = GetParam();
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(ComputeTypes, EngineTypes,
                         testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST(Engine, EveryWorldSizeGivesTheSameLogProbabilities) {
  for (const bool is_awq : {false, true}) {
    for (const bool is_tied : {false, true}) {
      TinyModelOptions options;
      options.is_tied = is_tied;
      options.is_awq = is_awq;
      TinyGroup alone(options, 1);
      alone.Join(1);
      const auto expected = Generate(alone, MakeSequence(0, RandomTokens(21, 1)), 10);
      for (const int world_size : {2, 3, 4, 6}) {
        SCOPED_TRACE(testing::Message() << "world size " << world_size << " awq " << is_awq);
        TinyGroup group(options, world_size);
        group.Join(1);
        ExpectClose(Generate(group, MakeSequence(0, RandomTokens(21, 1)), 10), expected, 1e-5f);
      }
    }
  }
}

// A row's scale is that of the part that a rank has, but where it is static.
TEST(Engine, EveryWorldSizeIsNearInFloat8) {
  for (const TinyFloat8 float8 : {TinyFloat8::kPerChannel, TinyFloat8::kPerTensor,
                                  TinyFloat8::kStaticInputs, TinyFloat8::kAtLoad}) {
    TinyModelOptions options;
    options.float8 = float8;
    const float tolerance = float8 == TinyFloat8::kStaticInputs ? 1e-3f : 2e-2f;
    TinyGroup alone(options, 1);
    alone.Join(1);
    const auto expected = Generate(alone, MakeSequence(0, RandomTokens(21, 1)), 1);
    for (const int world_size : {2, 3, 4, 6}) {
      TinyGroup group(options, world_size);
      group.Join(1);
      ExpectClose(Generate(group, MakeSequence(0, RandomTokens(21, 1)), 1), expected, tolerance);
    }
  }
}

TEST_P(EngineTypes, ChunkedAndWholePrefillHaveTheSameBits) {
  for (const auto& [world_size, float8] :
       {std::pair{1, TinyFloat8::kNone}, {3, TinyFloat8::kNone}, {3, TinyFloat8::kPerChannel}}) {
    TinyModelOptions options = Options();
    options.float8 = float8;
    TinyGroup group(options, world_size);
    group.Join(1);
    const NewSequence sequence = MakeSequence(2, RandomTokens(37, 2));
    const auto whole = Generate(group, sequence, 8);
    EXPECT_EQ(Generate(group, sequence, 8, {1, 7, 16}), whole);
    EXPECT_EQ(Generate(group, sequence, 8, {36}), whole);
    EXPECT_EQ(Generate(group, sequence, 8, {5, 5, 5, 5, 5, 5, 5}, 20), whole);
  }
}

TEST_P(EngineTypes, ASequenceGetsTheSameBitsAloneAndInABatch) {
  TinyGroup group(Options(), 2);
  group.Join(1);
  const NewSequence sequence = MakeSequence(1, RandomTokens(9, 3));
  const auto alone = Generate(group, sequence, 4);
  // A batch: a long prefill before it, a decode that runs beside it.
  NewSequence other = MakeSequence(0, RandomTokens(30, 4));
  NewSequence third = MakeSequence(5, RandomTokens(3, 5));
  StepPlan plan;
  plan.new_sequences = {third};
  plan.new_blocks = Blocks(5, 40, 4);
  plan.scheduled_slots = {5};
  plan.scheduled_tokens = {3};
  group.Step(plan);
  plan = {};
  plan.new_sequences = {other, sequence};
  plan.new_blocks = Blocks(0, 0, 10);
  for (const int32_t value : Blocks(1, 20, 4)) plan.new_blocks.push_back(value);
  plan.scheduled_slots = {5, 0, 1};
  plan.scheduled_tokens = {1, 13, 9};
  EXPECT_EQ(SampleOf(group.Step(plan), 1), alone[0]);
  plan = {};
  plan.scheduled_slots = {0, 1, 5};
  plan.scheduled_tokens = {17, 1, 1};
  const StepResult mixed = group.Step(plan);
  EXPECT_EQ(mixed.tokens.size(), 3u);
  EXPECT_EQ(SampleOf(mixed, 1), alone[1]);
  plan.scheduled_slots = {1, 0};
  plan.scheduled_tokens = {1, 1};
  EXPECT_EQ(SampleOf(group.Step(plan), 1), alone[2]);
}

TEST_P(EngineTypes, APreemptedSequenceGoesOnWithTheSameBits) {
  TinyGroup group(Options(), 2);
  group.Join(1);
  const NewSequence sequence = MakeSequence(0, RandomTokens(11, 6));
  const auto undisturbed = Generate(group, sequence, 8);
  const auto before = Generate(group, sequence, 4);
  // Recompute: prompt and what was produced, in another slot and other blocks.
  NewSequence replay = MakeSequence(3, sequence.token_ids);
  for (const Sample& sample : before) replay.token_ids.push_back(sample.token_id);
  const auto after = Generate(group, replay, 4, {6}, 30);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(after[i], undisturbed[4 + i]);
}

TEST_P(EngineTypes, ACachedPrefixGivesTheSameBits) {
  TinyGroup group(Options(), 1);
  group.Join(1);
  std::vector<int32_t> tokens = RandomTokens(14, 7);
  const auto whole = Generate(group, MakeSequence(0, tokens), 1);
  // Blocks 0..2 hold positions 0..11 of the released sequence still.
  NewSequence cached = MakeSequence(1, tokens);
  cached.num_computed_tokens = 12;
  StepPlan plan;
  plan.new_sequences = {cached};
  plan.new_blocks = Blocks(1, 0, 3);
  plan.new_blocks.insert(plan.new_blocks.end(), {1, 17});
  plan.scheduled_slots = {1};
  plan.scheduled_tokens = {2};
  EXPECT_EQ(SampleOf(group.Step(plan), 1), whole[0]);
}

TEST(Engine, KvBytesAreThoseOfTheLayout) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    TinyModelOptions options;
    options.compute_type = type;
    TinyGroup group(options, 4);
    const LoadResult& result = group.load_result(0);
    // 2 layers, keys and values, 4 positions, 1 KV head of 8.
    EXPECT_EQ(result.kv_bytes_per_block, 2 * 2 * 4 * 1 * 8 * static_cast<int64_t>(SizeOf(type)));
    GroupOptions group_options;
    group_options.group_epoch = 1;
    EXPECT_GT(result.weight_bytes, 0);
    EXPECT_GT(result.activation_bytes, 0);
    EXPECT_EQ(result.read_bytes, 0);
  }
}

TEST(Engine, JoinGroupAllocatesWhatWasAnnounced) {
  TinyGroup group({}, 1);
  GroupOptions options;
  options.group_epoch = 1;
  options.collective = CollectiveKind::kNone;
  const std::string address = group.engine(0).PrepareGroup(options);
  EXPECT_EQ(group.engine(0).JoinGroup(1, {address}, 10, 1000),
            10 * group.load_result(0).kv_bytes_per_block);
}

TEST(Engine, RefusesACacheThatDoesNotFit) {
  TinyGroup group({}, 1);
  GroupOptions options;
  options.group_epoch = 1;
  options.collective = CollectiveKind::kNone;
  const std::string address = group.engine(0).PrepareGroup(options);
  EXPECT_EQ(CodeOf([&] { group.engine(0).JoinGroup(1, {address}, INT32_MAX, 1000); }),
            "DEVICE_OUT_OF_MEMORY");
}

TEST(Engine, EpochsOnlyRise) {
  TinyGroup group({}, 1);
  group.Join(5);
  GroupOptions options;
  options.collective = CollectiveKind::kNone;
  for (const uint64_t epoch : {uint64_t{4}, uint64_t{5}}) {
    options.group_epoch = epoch;
    EXPECT_EQ(CodeOf([&] { group.engine(0).PrepareGroup(options); }), "STALE_EPOCH");
  }
  StepPlan plan;
  plan.group_epoch = 4;
  plan.step = 1;
  EXPECT_EQ(CodeOf([&] { group.engine(0).RunStep(plan); }), "STALE_EPOCH");
  plan.group_epoch = 6;
  EXPECT_EQ(CodeOf([&] { group.engine(0).RunStep(plan); }), "NOT_READY");
  plan.group_epoch = 5;
  plan.step = 2;
  EXPECT_EQ(CodeOf([&] { group.engine(0).RunStep(plan); }), "STEP_OUT_OF_ORDER");
  plan.step = 1;
  EXPECT_EQ(group.engine(0).RunStep(plan).step, 1u);
  EXPECT_EQ(CodeOf([&] { group.engine(0).RunStep(plan); }), "STEP_OUT_OF_ORDER");
  EXPECT_EQ(group.engine(0).progress().last_step, 1u);
}

TEST(Engine, ANewEpochStartsEmptyWithTheSameWeights) {
  TinyGroup group({}, 2);
  group.Join(1);
  const NewSequence sequence = MakeSequence(0, RandomTokens(12, 8));
  const auto first = Generate(group, sequence, 5);
  StepPlan plan;
  plan.new_sequences = {sequence};
  plan.new_blocks = Blocks(0, 0, 3);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {12};
  group.Step(plan);
  // Slot 0 is taken in epoch 1, and free again in epoch 2, with or without an end in peace.
  for (const bool ends_in_peace : {true, false}) {
    if (ends_in_peace) group.OnAllRanks([](int, Engine& engine) { engine.EndEpoch(); });
    group.Join(group.group_epoch + 1);
    EXPECT_EQ(Generate(group, sequence, 5), first);
  }
}

TEST(Engine, LoadingTheSamePlanAgainReadsNothingAndKeepsTheEpoch) {
  TinyGroup group({}, 1);
  group.Join(1);
  const LoadResult again = group.engine(0).Load(
      MakeTinyPlan({}, 1, 0), [](int64_t, int64_t) { FAIL() << "nothing is to be loaded"; });
  EXPECT_EQ(again.weight_bytes, group.load_result(0).weight_bytes);
  EXPECT_EQ(again.read_bytes, 0);
  EXPECT_EQ(group.Step({}).step, 1u);
  EXPECT_EQ(group.engine(0).resident_weights_hash(), "tiny");
}

TEST(Engine, OtherLimitsReadNothingAndComputeTheSame) {
  TinyGroup group({}, 2);
  group.Join(1);
  const NewSequence sequence = MakeSequence(0, RandomTokens(12, 8));
  const auto first = Generate(group, sequence, 5);
  for (const int64_t factor : {2, 1}) {
    group.OnAllRanks([&](int rank, Engine& engine) {
      engine.EndEpoch();
      LoadPlan plan = MakeTinyPlan({}, 2, rank);
      plan.max_num_sequences *= factor;
      plan.max_step_tokens *= factor;
      plan.max_top_logprobs += factor;
      const LoadResult again =
          engine.Load(plan, [](int64_t, int64_t) { FAIL() << "nothing is to be loaded"; });
      EXPECT_EQ(again.read_bytes, 0);
      EXPECT_EQ(again.activation_bytes > group.load_result(rank).activation_bytes, factor > 1);
    });
    group.Join(group.group_epoch + 1);
    EXPECT_EQ(Generate(group, sequence, 5), first);
  }
}

TEST(Engine, NeedsWeightsBeforeAGroup) {
  Engine engine(BackendOptions{});
  GroupOptions options;
  options.group_epoch = 1;
  EXPECT_EQ(CodeOf([&] { engine.PrepareGroup(options); }), "NOT_READY");
  EXPECT_EQ(CodeOf([&] { engine.JoinGroup(1, {""}, 1, 10); }), "NOT_READY");
}

// Rank 1 never calls: rank 0 waits in its first all-reduce until it is aborted.
TEST(Engine, AbortEndsAWaitingStepAndTheEpoch) {
  TinyGroup group({}, 2);
  group.Join(1);
  StepPlan plan;
  plan.group_epoch = 1;
  plan.step = 1;
  plan.new_sequences = {MakeSequence(0, RandomTokens(4, 9))};
  plan.new_blocks = Blocks(0, 0, 1);
  plan.scheduled_slots = {0};
  plan.scheduled_tokens = {4};
  std::string code;
  std::chrono::steady_clock::time_point ended;
  std::thread waiting([&] {
    code = CodeOf([&] { group.engine(0).RunStep(plan); });
    ended = std::chrono::steady_clock::now();
  });
  while (group.engine(0).progress().collectives == 0) std::this_thread::yield();
  group.engine(0).Abort(99);  // a later epoch's abort ends this one as well
  const auto aborted = std::chrono::steady_clock::now();
  waiting.join();
  EXPECT_EQ(code, "ABORTED");
  EXPECT_LT(ended - aborted, std::chrono::seconds(2));
  plan.step = 2;
  EXPECT_EQ(CodeOf([&] { group.engine(0).RunStep(plan); }), "ABORTED");
  EXPECT_EQ(CodeOf([&] { group.engine(0).PutPixels(1, 1, {0}, {}); }), "ABORTED");
  GroupOptions options;
  options.group_epoch = 50;
  options.world_size = 2;
  options.collective = CollectiveKind::kSharedMemory;
  EXPECT_EQ(CodeOf([&] { group.engine(0).PrepareGroup(options); }), "ABORTED");
  group.OnAllRanks([](int, Engine& engine) { engine.EndEpoch(); });
  group.Join(100);
  EXPECT_EQ(Generate(group, MakeSequence(0, RandomTokens(12, 8)), 3).size(), 3u);
}

TEST(Engine, AbortEndsAWaitingJoin) {
  TinyGroup group({}, 2);
  GroupOptions options;
  options.group_epoch = 1;
  options.world_size = 2;
  options.collective = CollectiveKind::kSharedMemory;
  std::vector<std::string> addresses;
  for (int rank = 0; rank < 2; ++rank) {
    options.rank = rank;
    addresses.push_back(group.engine(rank).PrepareGroup(options));
  }
  std::string code;
  std::thread waiting(
      [&] { code = CodeOf([&] { group.engine(0).JoinGroup(1, addresses, 4, 20000); }); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  group.engine(0).Abort(1);
  waiting.join();
  EXPECT_EQ(code, "ABORTED");
}

// The last sampled token stays in the engine; a plan that runs on after the coordinator has stopped
// listening does no harm.
TEST(Engine, RunAheadOfAnEndedSequenceIsHarmless) {
  TinyGroup group({}, 1);
  group.Join(1);
  const NewSequence sequence = MakeSequence(0, RandomTokens(6, 10));
  const auto expected = Generate(group, sequence, 6);
  EXPECT_EQ(Generate(group, MakeSequence(1, RandomTokens(4, 11)), 3).size(), 3u);
  EXPECT_EQ(Generate(group, sequence, 6), expected);
}

}  // namespace
}  // namespace skein::test
