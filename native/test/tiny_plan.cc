#include "tiny_plan.h"

#include <algorithm>

#include "model/tensor_catalogue.h"

namespace skein::test {
namespace {

struct Range {
  int64_t start, end;
  int64_t size() const { return end - start; }
};

// The first ranks get the remainder.
Range Split(int64_t total, int64_t parts, int64_t part) {
  const int64_t base = total / parts, extra = total % parts;
  const int64_t start = part * base + std::min(part, extra);
  return {start, start + base + (part < extra ? 1 : 0)};
}

Range SplitBlocks(int64_t width, int64_t parts, int64_t part) {
  const Range blocks = Split(width / 8, parts, part);
  return {blocks.start * 8, blocks.end * 8};
}

void SetText(const TinyModelOptions& options, LoadPlan* plan) {
  TextSpec& text = plan->text;
  text.hidden_size = 48;
  text.num_layers = 2;
  text.num_heads = 6;
  text.num_kv_heads = 3;
  text.head_dim = 8;
  text.intermediate_size = 56;
  text.vocab_size = kTinyVocab;
  text.max_position_embeddings = 4096;
  text.rms_norm_eps = 1e-6;
  text.rope_theta = 1e4;
  text.awq_group_size = options.is_awq ? 16 : 0;
}

void SetVision(const TinyModelOptions& options, LoadPlan* plan) {
  VisionSpec& vision = plan->vision;
  vision.hidden_size = 40;
  vision.num_layers = 2;
  vision.num_heads = 5;
  vision.head_dim = 8;
  vision.intermediate_size = 64;
  vision.patch_size = 4;
  vision.image_size = 16;
  vision.shuffle_factor = 2;
  vision.projector_hidden_size = plan->text.hidden_size;
  vision.norm_kind = options.is_6b_like ? NormKind::kRms : NormKind::kLayer;
  vision.norm_eps = 1e-6;
  vision.projector_norm_eps = 1e-5;
  vision.qk_normalization = options.is_6b_like;
  vision.qkv_bias = !options.is_6b_like;
  for (int i = 0; i < 3; ++i) {
    vision.pixel_mean[i] = 0.45f;
    vision.pixel_std[i] = 0.22f;
  }
}

void SetLayout(const TinyModelOptions& options, int64_t world_size, int64_t rank, LoadPlan* plan) {
  RankLayout& layout = plan->layout;
  const TextSpec& text = plan->text;
  layout.rank = rank;
  layout.world_size = world_size;
  const Range q = Split(text.num_heads, world_size, rank);
  const int64_t queries_per_kv = text.num_heads / text.num_kv_heads;
  layout.q_head_start = q.start;
  layout.num_q_heads = q.size();
  layout.kv_head_start = q.start / queries_per_kv;
  layout.num_kv_heads = (q.end - 1) / queries_per_kv + 1 - layout.kv_head_start;
  for (int64_t head = q.start; head < q.end; ++head) {
    layout.q_to_kv.push_back(static_cast<int32_t>(head / queries_per_kv - layout.kv_head_start));
  }
  const Range width = SplitBlocks(text.intermediate_size, world_size, rank);
  layout.intermediate_start = width.start;
  layout.intermediate_size = width.size();
  layout.vocab_rows = (text.vocab_size + world_size - 1) / world_size;
  layout.vocab_start = rank * layout.vocab_rows;
  layout.vocab_valid_rows = std::min(layout.vocab_rows, text.vocab_size - layout.vocab_start);
  layout.vision_parallel = options.vision_parallel;
  const bool is_cut = options.vision_parallel == VisionParallel::kTensor;
  const int64_t parts = is_cut ? world_size : 1, part = is_cut ? rank : 0;
  const VisionSpec& vision = plan->vision;
  const Range heads = Split(vision.num_heads, parts, part);
  layout.vision_head_start = heads.start;
  layout.vision_num_heads = heads.size();
  const Range inner = SplitBlocks(vision.intermediate_size, parts, part);
  layout.vision_intermediate_start = inner.start;
  layout.vision_intermediate_size = inner.size();
  const Range projector = SplitBlocks(vision.projector_hidden_size, parts, part);
  layout.projector_start = projector.start;
  layout.projector_size = projector.size();
}

void Add(LoadPlan* plan, TensorRole role, TensorPart part, int64_t layer, int64_t rows,
         int64_t cols) {
  RankTensor tensor;
  tensor.role = role;
  tensor.part = part;
  tensor.layer = layer;
  tensor.rows = rows;
  tensor.cols = cols;
  tensor.stored_type = DType::kFloat32;
  plan->tensors.push_back(tensor);
}

void AddFloat8Linear(TinyFloat8 float8, LoadPlan* plan, TensorRole role, int64_t layer, int64_t out,
                     int64_t in) {
  Add(plan, role, TensorPart::kWeight, layer, out, in);
  if (float8 == TinyFloat8::kAtLoad) {
    plan->tensors.back().quantize_to_float8 = true;
    return;
  }
  plan->tensors.back().stored_type = DType::kFloat8E4M3;
  const auto linears = static_cast<int64_t>(LinearWidths(*plan, role).size());
  Add(plan, role, TensorPart::kFloat8Scales, layer,
      float8 == TinyFloat8::kPerChannel ? out : linears, 1);
  if (float8 == TinyFloat8::kStaticInputs) {
    Add(plan, role, TensorPart::kFloat8InputScales, layer, linears, 1);
  }
}

void AddLinear(const TinyModelOptions& options, LoadPlan* plan, TensorRole role, int64_t layer,
               int64_t out, int64_t in, int64_t in_start) {
  if (options.float8 != TinyFloat8::kNone) {
    return AddFloat8Linear(options.float8, plan, role, layer, out, in);
  }
  const int64_t group = plan->text.awq_group_size;
  if (group == 0) return Add(plan, role, TensorPart::kWeight, layer, out, in);
  const int64_t offset = in_start % group, groups = (offset + in + group - 1) / group;
  Add(plan, role, TensorPart::kAwqQweight, layer, in, out / 8);
  plan->tensors.back().stored_type = DType::kInt32;
  plan->tensors.back().awq_group_offset = offset;
  Add(plan, role, TensorPart::kAwqQzeros, layer, groups, out / 8);
  plan->tensors.back().stored_type = DType::kInt32;
  Add(plan, role, TensorPart::kAwqScales, layer, groups, out);
}

void AddTextTensors(const TinyModelOptions& options, LoadPlan* plan) {
  const TextSpec& text = plan->text;
  const RankLayout& layout = plan->layout;
  const int64_t h = text.hidden_size, d = text.head_dim, q = layout.num_q_heads * d;
  const int64_t qkv = q + 2 * layout.num_kv_heads * d, width = layout.intermediate_size;
  constexpr TensorPart kWeight = TensorPart::kWeight, kBias = TensorPart::kBias;
  Add(plan, TensorRole::kTokenEmbedding, kWeight, 0, layout.vocab_rows, h);
  for (int64_t i = 0; i < text.num_layers; ++i) {
    Add(plan, TensorRole::kInputNorm, kWeight, i, 1, h);
    AddLinear(options, plan, TensorRole::kQkv, i, qkv, h, 0);
    Add(plan, TensorRole::kQkv, kBias, i, 1, qkv);
    AddLinear(options, plan, TensorRole::kOProj, i, h, q, layout.q_head_start * d);
    Add(plan, TensorRole::kPostAttentionNorm, kWeight, i, 1, h);
    AddLinear(options, plan, TensorRole::kGateUp, i, 2 * width, h, 0);
    AddLinear(options, plan, TensorRole::kDown, i, h, width, layout.intermediate_start);
  }
  Add(plan, TensorRole::kFinalNorm, kWeight, 0, 1, h);
  Add(plan, TensorRole::kLmHead, kWeight, 0, layout.vocab_rows, h);
  plan->tensors.back().tied_to_embedding = options.is_tied;
}

void AddVisionTensors(LoadPlan* plan) {
  const VisionSpec& vision = plan->vision;
  const RankLayout& layout = plan->layout;
  const int64_t h = vision.hidden_size, heads = layout.vision_num_heads * vision.head_dim;
  const int64_t inner = layout.vision_intermediate_size, folded = 4 * h;
  constexpr TensorPart kWeight = TensorPart::kWeight, kBias = TensorPart::kBias;
  Add(plan, TensorRole::kVisionClassEmbedding, kWeight, 0, 1, h);
  Add(plan, TensorRole::kVisionPositionEmbedding, kWeight, 0, 17, h);
  Add(plan, TensorRole::kVisionPatchEmbedding, kWeight, 0, h, 48);
  Add(plan, TensorRole::kVisionPatchEmbedding, kBias, 0, 1, h);
  for (int64_t i = 0; i < vision.num_layers; ++i) {
    for (const TensorRole role : {TensorRole::kVisionNorm1, TensorRole::kVisionNorm2}) {
      Add(plan, role, kWeight, i, 1, h);
      if (vision.norm_kind == NormKind::kLayer) Add(plan, role, kBias, i, 1, h);
    }
    Add(plan, TensorRole::kVisionQkv, kWeight, i, 3 * heads, h);
    if (vision.qkv_bias) Add(plan, TensorRole::kVisionQkv, kBias, i, 1, 3 * heads);
    if (vision.qk_normalization) {
      Add(plan, TensorRole::kVisionQNorm, kWeight, i, 1, heads);
      Add(plan, TensorRole::kVisionKNorm, kWeight, i, 1, heads);
    }
    Add(plan, TensorRole::kVisionProj, kWeight, i, h, heads);
    Add(plan, TensorRole::kVisionProj, kBias, i, 1, h);
    Add(plan, TensorRole::kVisionFc1, kWeight, i, inner, h);
    Add(plan, TensorRole::kVisionFc1, kBias, i, 1, inner);
    Add(plan, TensorRole::kVisionFc2, kWeight, i, h, inner);
    Add(plan, TensorRole::kVisionFc2, kBias, i, 1, h);
    Add(plan, TensorRole::kVisionLayerScale1, kWeight, i, 1, h);
    Add(plan, TensorRole::kVisionLayerScale2, kWeight, i, 1, h);
  }
  Add(plan, TensorRole::kProjectorNorm, kWeight, 0, 1, folded);
  Add(plan, TensorRole::kProjectorNorm, kBias, 0, 1, folded);
  Add(plan, TensorRole::kProjectorFc1, kWeight, 0, layout.projector_size, folded);
  Add(plan, TensorRole::kProjectorFc1, kBias, 0, 1, layout.projector_size);
  Add(plan, TensorRole::kProjectorFc2, kWeight, 0, plan->text.hidden_size, layout.projector_size);
  Add(plan, TensorRole::kProjectorFc2, kBias, 0, 1, plan->text.hidden_size);
}

void QuantizeTower(LoadPlan* plan) {
  for (RankTensor& tensor : plan->tensors) {
    const bool is_linear =
        tensor.role == TensorRole::kVisionQkv || tensor.role == TensorRole::kVisionProj ||
        tensor.role == TensorRole::kVisionFc1 || tensor.role == TensorRole::kVisionFc2;
    if (is_linear && tensor.part == TensorPart::kWeight) tensor.quantize_to_float8 = true;
  }
}

}  // namespace

LoadPlan MakeTinyPlan(const TinyModelOptions& options, int64_t world_size, int64_t rank) {
  LoadPlan plan;
  plan.weights_hash = "tiny";
  plan.has_vision = options.has_vision;
  plan.compute_type = options.compute_type;
  plan.kv_cache_type = options.has_float8_kv_cache ? DType::kFloat8E4M3 : options.compute_type;
  plan.dummy_weights = true;
  plan.dummy_seed = 7;
  plan.max_num_sequences = options.max_num_sequences;
  plan.max_step_tokens = options.max_step_tokens;
  plan.block_size = options.block_size;
  plan.max_model_length = options.max_model_length;
  plan.num_tile_slots = options.num_tile_slots;
  plan.max_tiles_per_step = options.max_tiles_per_step;
  plan.graph_buckets = options.graph_buckets;
  SetText(options, &plan);
  SetVision(options, &plan);
  SetLayout(options, world_size, rank, &plan);
  AddTextTensors(options, &plan);
  if (options.has_vision) AddVisionTensors(&plan);
  if (options.quantizes_tower) QuantizeTower(&plan);
  return plan;
}

}  // namespace skein::test
