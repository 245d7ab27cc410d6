// What is estimated of a plan is what loading it takes, by kinds and to the byte.
#include "engine/memory_estimate.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "engine/engine.h"
#include "test/tiny_plan.h"

namespace skein::test {
namespace {

void ExpectAsLoaded(const TinyModelOptions& options, const std::string& what) {
  for (const int64_t world_size : {1, 2, 3}) {
    for (int64_t rank = 0; rank < world_size; ++rank) {
      const LoadPlan plan = MakeTinyPlan(options, world_size, rank);
      Engine engine({});
      const LoadResult loaded = engine.Load(plan, nullptr);
      const MemoryEstimate estimate = EstimateMemory(plan, "cpu");
      SCOPED_TRACE(what + Format(", rank %lld of %lld", static_cast<long long>(rank),
                                 static_cast<long long>(world_size)));
      EXPECT_EQ(estimate.weights, loaded.weight_bytes);
      EXPECT_EQ(estimate.activations, loaded.activation_bytes);
      EXPECT_EQ(estimate.kv_per_block, loaded.kv_bytes_per_block);
      EXPECT_GT(estimate.peak_weights, estimate.weights);
      EXPECT_EQ(estimate.pictures > 0, plan.has_vision);
      EXPECT_LT(estimate.pictures, estimate.activations);
      EXPECT_EQ(estimate.workspaces + estimate.reserve, 0);
    }
  }
}

TEST(MemoryEstimateTest, IsWhatLoadingTakes) {
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    TinyModelOptions options;
    options.compute_type = type;
    ExpectAsLoaded(options, "text");
    options.is_tied = true;
    ExpectAsLoaded(options, "tied");
    options.is_awq = true;
    ExpectAsLoaded(options, "AWQ");
  }
  TinyModelOptions options;
  options.has_float8_kv_cache = true;
  ExpectAsLoaded(options, "keys and values in float8");
  // 2 layers, keys and values, 4 positions, 3 KV heads of 8 codes and a scale.
  constexpr int64_t kPerBlock = 2 * 2 * 4 * 3 * (8 + 4);
  EXPECT_EQ(EstimateMemory(MakeTinyPlan(options, 1, 0), "cpu").kv_per_block, kPerBlock);
  options.compute_type = DType::kBFloat16;
  EXPECT_EQ(EstimateMemory(MakeTinyPlan(options, 1, 0), "cuda").kv_per_block, kPerBlock);
}

TEST(MemoryEstimateTest, IsWhatFloat8Takes) {
  for (const TinyFloat8 float8 : {TinyFloat8::kPerChannel, TinyFloat8::kPerTensor,
                                  TinyFloat8::kStaticInputs, TinyFloat8::kAtLoad}) {
    TinyModelOptions options;
    options.float8 = float8;
    ExpectAsLoaded(options, Format("float8 %d", static_cast<int>(float8)));
  }
}

TEST(MemoryEstimateTest, CountsTheTowerAndItsTiles) {
  for (const VisionParallel parallel : {VisionParallel::kTensor, VisionParallel::kData}) {
    for (const bool is_6b_like : {true, false}) {
      TinyModelOptions options;
      options.has_vision = true;
      options.vision_parallel = parallel;
      options.is_6b_like = is_6b_like;
      ExpectAsLoaded(options, is_6b_like ? "6B" : "300M");
      options.quantizes_tower = true;
      ExpectAsLoaded(options, is_6b_like ? "6B in float8" : "300M in float8");
    }
  }
}

TEST(MemoryEstimateTest, TellsAGpusMemoryWithoutOne) {
  TinyModelOptions options;
  options.compute_type = DType::kBFloat16;
  const LoadPlan plan = MakeTinyPlan(options, 2, 0);
  const MemoryEstimate gpu = EstimateMemory(plan, "cuda"), cpu = EstimateMemory(plan, "cpu");
  EXPECT_GT(gpu.weights, 0);
  EXPECT_LT(gpu.activations, cpu.activations);  // bfloat16 instead of float32
  EXPECT_EQ(gpu.kv_per_block, cpu.kv_per_block);
  EXPECT_GT(gpu.workspaces, 0);
  EXPECT_GT(gpu.reserve, EstimateMemory(MakeTinyPlan(options, 1, 0), "cuda").reserve);
}

// One buffer for a step's tokens and its tiles' rows, as large as the larger of the two asks for.
TEST(MemoryEstimateTest, KnowsTheRowsOfAFloat8Tower) {
  TinyModelOptions options;
  options.has_vision = true;
  const auto workspaces = [&](bool decoder, bool tower, int64_t tiles, int64_t tokens) {
    options.float8 = decoder ? TinyFloat8::kAtLoad : TinyFloat8::kNone;
    options.quantizes_tower = tower;
    options.max_tiles_per_step = options.num_tile_slots = tiles;
    options.max_step_tokens = tokens;
    return EstimateMemory(MakeTinyPlan(options, 1, 0), "cuda").workspaces;
  };
  const int64_t none = workspaces(false, false, 8, 96);
  EXPECT_GT(workspaces(false, true, 8, 96), none);
  EXPECT_GT(workspaces(false, true, 80, 96), workspaces(false, true, 8, 96));
  EXPECT_EQ(workspaces(false, true, 8, 960), workspaces(false, true, 8, 96));
  EXPECT_EQ(workspaces(true, false, 80, 96), workspaces(true, false, 8, 96));
  EXPECT_EQ(workspaces(true, true, 80, 96), workspaces(false, true, 80, 96));
}

TEST(MemoryEstimateTest, RefusesWhatALoadRefuses) {
  LoadPlan plan = MakeTinyPlan({}, 1, 0);
  EXPECT_THROW(EstimateMemory(plan, "tpu"), Error);
  plan.tensors.pop_back();
  EXPECT_THROW(EstimateMemory(plan, "cpu"), Error);
  TinyModelOptions options;
  options.has_vision = true;
  for (const TensorRole role : {TensorRole::kVisionPatchEmbedding, TensorRole::kProjectorFc1}) {
    plan = MakeTinyPlan(options, 1, 0);
    for (RankTensor& tensor : plan.tensors) {
      if (tensor.role == role) tensor.quantize_to_float8 = tensor.part == TensorPart::kWeight;
    }
    EXPECT_THROW(EstimateMemory(plan, "cpu"), Error) << static_cast<int>(role);
  }
}

}  // namespace
}  // namespace skein::test
