#include "model/plan_limits.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kv/kv_layout.h"

namespace skein {
namespace {

void InRange(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  throw Error("INVALID_REQUEST",
              Format("%s: %lld is outside %lld..%lld", field, static_cast<long long>(value),
                     static_cast<long long>(low), static_cast<long long>(high)));
}

void Positive(const char* field, double value) {
  if (std::isfinite(value) && value > 0) return;
  throw Error("INVALID_REQUEST", Format("%s: %g is not a positive number", field, value));
}

void IsTrue(bool holds, const char* message) {
  if (!holds) throw Error("INVALID_REQUEST", message);
}

// Far above every known model; keeps products of three dimensions within int64.
constexpr int64_t kMaxDimension = int64_t{1} << 20;

// As in common/limits.ts. CUDA grids hold them: sequences in a dimension of 65,535 blocks, rows in
// one of 2^31.
constexpr int64_t kMaxNumSequences = 4096;
constexpr int64_t kMaxStepTokens = 65'536;

void CheckText(const TextSpec& text) {
  InRange("text.hiddenSize", text.hidden_size, 1, kMaxDimension);
  InRange("text.numLayers", text.num_layers, 1, 4096);
  InRange("text.numHeads", text.num_heads, 1, 4096);
  InRange("text.numKvHeads", text.num_kv_heads, 1, text.num_heads);
  InRange("text.headDim", text.head_dim, 2, 1024);
  InRange("text.intermediateSize", text.intermediate_size, 1, kMaxDimension);
  InRange("text.vocabSize", text.vocab_size, 1, int64_t{1} << 24);
  IsTrue(text.head_dim % 2 == 0, "text.headDim: rotary embedding needs an even number");
  Positive("text.rmsNormEps", text.rms_norm_eps);
  Positive("text.ropeTheta", text.rope_theta);
}

void CheckLayout(const LoadPlan& plan) {
  const TextSpec& text = plan.text;
  const RankLayout& layout = plan.layout;
  InRange("layout.worldSize", layout.world_size, 1, 64);
  InRange("layout.rank", layout.rank, 0, layout.world_size - 1);
  InRange("layout.numQHeads", layout.num_q_heads, 1, text.num_heads);
  InRange("layout.qHeadStart", layout.q_head_start, 0, text.num_heads - layout.num_q_heads);
  InRange("layout.numKvHeads", layout.num_kv_heads, 1, text.num_kv_heads);
  InRange("layout.kvHeadStart", layout.kv_head_start, 0, text.num_kv_heads - layout.num_kv_heads);
  InRange("layout.intermediateSize", layout.intermediate_size, 1, text.intermediate_size);
  InRange("layout.vocabStart", layout.vocab_start, 0, text.vocab_size);
  InRange("layout.vocabRows", layout.vocab_rows, 1, int64_t{1} << 24);
  InRange("layout.vocabValidRows", layout.vocab_valid_rows, 0, layout.vocab_rows);
  InRange("layout.vocabValidRows", layout.vocab_valid_rows, 0,
          text.vocab_size - layout.vocab_start);
  IsTrue(static_cast<int64_t>(layout.q_to_kv.size()) == layout.num_q_heads,
         "layout.qToKv: needs one entry per query head");
  for (const int32_t kv : layout.q_to_kv) {
    InRange("layout.qToKv", kv, 0, layout.num_kv_heads - 1);
  }
}

void CheckVision(const LoadPlan& plan) {
  const VisionSpec& vision = plan.vision;
  const RankLayout& layout = plan.layout;
  InRange("vision.hiddenSize", vision.hidden_size, 1, kMaxDimension);
  InRange("vision.numLayers", vision.num_layers, 1, 4096);
  InRange("vision.numHeads", vision.num_heads, 1, 4096);
  InRange("vision.headDim", vision.head_dim, 1, 1024);
  InRange("vision.intermediateSize", vision.intermediate_size, 1, kMaxDimension);
  InRange("vision.numChannels", vision.num_channels, 3, 3);
  InRange("vision.imageSize", vision.image_size, 1, 4096);
  InRange("vision.patchSize", vision.patch_size, 1, vision.image_size);
  InRange("vision.shuffleFactor", vision.shuffle_factor, 1, 16);
  IsTrue(vision.image_size % (vision.patch_size * vision.shuffle_factor) == 0,
         "vision.imageSize: not a multiple of patchSize * shuffleFactor");
  IsTrue(vision.num_heads * vision.head_dim == vision.hidden_size,
         "vision.headDim: numHeads * headDim is not hiddenSize");
  Positive("vision.normEps", vision.norm_eps);
  Positive("vision.projectorNormEps", vision.projector_norm_eps);
  for (const float std : vision.pixel_std) Positive("vision.pixelStd", std);
  const bool is_whole = layout.vision_parallel == VisionParallel::kData;
  InRange("layout.visionNumHeads", layout.vision_num_heads, is_whole ? vision.num_heads : 1,
          vision.num_heads);
  InRange("layout.visionIntermediateSize", layout.vision_intermediate_size,
          is_whole ? vision.intermediate_size : 1, vision.intermediate_size);
  InRange("layout.projectorSize", layout.projector_size,
          is_whole ? vision.projector_hidden_size : 1, vision.projector_hidden_size);
  InRange("numTileSlots", plan.num_tile_slots, 1, int64_t{1} << 20);
  InRange("maxTilesPerStep", plan.max_tiles_per_step, 1, 4096);
}

}  // namespace

void CheckPlanLimits(const LoadPlan& plan) {
  CheckText(plan.text);
  CheckLayout(plan);
  if (plan.has_vision) CheckVision(plan);
  InRange("maxNumSequences", plan.max_num_sequences, 1, kMaxNumSequences);
  InRange("maxStepTokens", plan.max_step_tokens, 1, kMaxStepTokens);
  InRange("blockSize", plan.block_size, 1, 4096);
  InRange("maxModelLength", plan.max_model_length, 1, int64_t{1} << 24);
  InRange("maxTopLogprobs", plan.max_top_logprobs, 0, 1024);
  IsTrue(plan.compute_type == DType::kFloat32 || plan.compute_type == DType::kBFloat16,
         "computeType: float32 or bfloat16");
  IsTrue(plan.kv_cache_type == plan.compute_type || plan.kv_cache_type == DType::kFloat8E4M3,
         "kvCacheType: the compute type or float8_e4m3");
  IsTrue(plan.memory_share >= 0 && plan.memory_share <= 1, "memoryShare: from 0 to 1");
}

StepLimits StepLimitsOf(const LoadPlan& plan) {
  StepLimits limits;
  limits.max_rows = plan.max_step_tokens;
  limits.max_sequences = std::min(plan.max_num_sequences, plan.max_step_tokens);
  limits.max_blocks_per_sequence = BlocksFor(plan.max_model_length, plan.block_size);
  limits.block_size = plan.block_size;
  limits.num_query_heads = plan.layout.num_q_heads;
  limits.num_kv_heads = plan.layout.num_kv_heads;
  limits.head_dim = plan.text.head_dim;
  limits.has_float8_cache = plan.kv_cache_type == DType::kFloat8E4M3;
  limits.max_model_length = plan.max_model_length;
  limits.graph_buckets = plan.graph_buckets;
  limits.rope_theta = plan.text.rope_theta;
  limits.q_to_kv = plan.layout.q_to_kv;
  if (!plan.has_vision) return limits;
  const VisionSpec& vision = plan.vision;
  const int64_t grid = vision.image_size / vision.patch_size;
  limits.max_tiles = TilesPerRank(plan.layout, plan.max_tiles_per_step);
  limits.tile_bytes = vision.image_size * vision.image_size * vision.num_channels;
  limits.vision_tokens = grid * grid + 1;
  limits.max_picture_rows =
      std::max(plan.max_step_tokens, plan.max_tiles_per_step * TokensPerTile(vision));
  return limits;
}

}  // namespace skein
