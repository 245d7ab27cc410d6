// What the coordinator tells a rank about its model: dimensions, what the rank holds, and where its
// bytes lie. Plain data, as in worker.proto; nothing here computes or reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "ops/backend.h"

namespace skein {

// Mirrors of worker.proto; see there for meanings.
struct TextSpec {
  int64_t hidden_size = 0, num_layers = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0,
          intermediate_size = 0, vocab_size = 0, max_position_embeddings = 0, awq_group_size = 0;
  double rms_norm_eps = 0, rope_theta = 0;
};

struct VisionSpec {
  int64_t hidden_size = 0, num_layers = 0, num_heads = 0, head_dim = 0, intermediate_size = 0,
          patch_size = 0, image_size = 0, num_channels = 3, shuffle_factor = 2,
          projector_hidden_size = 0;
  NormKind norm_kind = NormKind::kRms;
  double norm_eps = 0, projector_norm_eps = 0;
  bool qk_normalization = false, qkv_bias = false;
  float pixel_mean[3] = {0, 0, 0}, pixel_std[3] = {1, 1, 1};
};

enum class VisionParallel : uint8_t { kTensor = 1, kData = 2 };

struct RankLayout {
  int64_t rank = 0, world_size = 1;
  int64_t q_head_start = 0, num_q_heads = 0, kv_head_start = 0, num_kv_heads = 0;
  std::vector<int32_t> q_to_kv;
  int64_t intermediate_start = 0, intermediate_size = 0;
  int64_t vocab_start = 0, vocab_rows = 0, vocab_valid_rows = 0;
  VisionParallel vision_parallel = VisionParallel::kTensor;
  int64_t vision_head_start = 0, vision_num_heads = 0;
  int64_t vision_intermediate_start = 0, vision_intermediate_size = 0;
  int64_t projector_start = 0, projector_size = 0;
};

// Values equal those of TensorRole and TensorPart in worker.proto.
enum class TensorRole : uint8_t {
  kTokenEmbedding = 1,
  kLmHead,
  kFinalNorm,
  kInputNorm,
  kPostAttentionNorm,
  kQkv,
  kOProj,
  kGateUp,
  kDown,
  kVisionClassEmbedding = 20,
  kVisionPositionEmbedding,
  kVisionPatchEmbedding,
  kVisionNorm1,
  kVisionNorm2,
  kVisionQkv,
  kVisionQNorm,
  kVisionKNorm,
  kVisionProj,
  kVisionFc1,
  kVisionFc2,
  kVisionLayerScale1,
  kVisionLayerScale2,
  kProjectorNorm = 40,
  kProjectorFc1,
  kProjectorFc2,
};
enum class TensorPart : uint8_t {
  kWeight = 1,
  kBias,
  kAwqQweight,
  kAwqQzeros,
  kAwqScales,
  kFloat8Scales,
  kFloat8InputScales,
};

struct RankTensor {
  TensorRole role{};
  TensorPart part{};
  int64_t layer = 0, rows = 0, cols = 0;
  DType stored_type{};
  int64_t awq_group_offset = 0;
  bool tied_to_embedding = false;
  bool quantize_to_float8 = false;
};

struct Slice {
  int64_t file_index = 0, data_offset = 0;
  DType type{};
  int64_t source_rows = 0, source_cols = 0, row_start = 0, row_end = 0, col_start = 0, col_end = 0;
  int64_t tensor_index = 0, dest_row = 0, dest_col = 0;
  std::string source_name;
};

struct WeightFile {
  std::string path;
  int64_t size_bytes = 0;
};

struct LoadPlan {
  std::string weights_hash;
  // Of what the files give for each tensor, as it was read before; empty: it was not.
  std::vector<uint64_t> expected_checksums;
  TextSpec text;
  bool has_vision = false;
  VisionSpec vision;
  RankLayout layout;
  std::vector<WeightFile> files;
  std::vector<RankTensor> tensors;
  std::vector<Slice> slices;
  DType compute_type = DType::kFloat32;
  DType kv_cache_type = DType::kFloat32;  // the compute type, or float8
  bool dummy_weights = false;
  uint64_t dummy_seed = 0;
  int64_t max_num_sequences = 0, max_step_tokens = 0, block_size = 16, max_model_length = 0,
          num_tile_slots = 0, max_tiles_per_step = 1, max_top_logprobs = 20;
  // Rows of the steps that are recorded as CUDA graphs, ascending; empty: none is.
  std::vector<int32_t> graph_buckets;
  // Of the device's memory, what this rank may take; 0: not limited.
  double memory_share = 0;
};

}  // namespace skein
