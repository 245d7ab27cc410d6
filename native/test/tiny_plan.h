// A tiny random model, cut for any world size: load plans with seeded weights. Test support only.
#pragma once

#include <vector>

#include "model/model_spec.h"

namespace skein::test {

constexpr int64_t kTinyVocab = 45;

// Of the decoder's linears: none, or float8 as a checkpoint has it, or made so while loading.
enum class TinyFloat8 : uint8_t { kNone, kPerChannel, kPerTensor, kStaticInputs, kAtLoad };

struct TinyModelOptions {
  bool has_vision = false;
  // Tower as InternViT-6B (RMS norm, q/k norm, no bias) or as InternViT-300M (LayerNorm, qkv bias).
  bool is_6b_like = true;
  VisionParallel vision_parallel = VisionParallel::kTensor;
  bool is_tied = false;
  bool is_awq = false;
  TinyFloat8 float8 = TinyFloat8::kNone;
  bool quantizes_tower = false;  // to float8, while loading
  DType compute_type = DType::kFloat32;
  bool has_float8_kv_cache = false;
  int64_t max_num_sequences = 6, max_step_tokens = 96, block_size = 4, max_model_length = 96;
  int64_t num_tile_slots = 8, max_tiles_per_step = 3;
  std::vector<int32_t> graph_buckets;
};

// 6 query heads over 3 KV heads, so that some world sizes share a KV head between ranks; vocabulary
// 45 is padded at most world sizes; MLP width 56 is seven blocks of 8.
LoadPlan MakeTinyPlan(const TinyModelOptions& options, int64_t world_size, int64_t rank);

}  // namespace skein::test
