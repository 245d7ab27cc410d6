#include "model/slice_loader.h"

#include <utility>

#include "core/error.h"

namespace skein {

SliceLoader::SliceLoader(Backend& backend, const LoadPlan& plan, const TensorCatalogue& catalogue,
                         WeightSource& source)
    : backend_(backend), plan_(plan), catalogue_(catalogue), source_(source) {}

ModelWeights SliceLoader::Load() {
  weights_ = {};
  LoadVocabulary();
  LoadDecoder();
  if (plan_.has_vision) {
    LoadVision();
    LoadProjector();
  }
  return std::move(weights_);
}

SliceLoader::Staged SliceLoader::Stage(TensorRole role, TensorPart part, int64_t layer,
                                       DType type) {
  Staged staged;
  const int64_t index = catalogue_.Find(role, part, layer);
  if (index < 0) return staged;
  const RankTensor& tensor = plan_.tensors[static_cast<size_t>(index)];
  if (plan_.dummy_weights && part != TensorPart::kBias && backend_.MakesRandomTensors()) {
    staged.random =
        backend_.MakeRandomTensor(type, tensor.rows, tensor.cols, source_.TakeBlocks(index));
    staged.matrix = staged.random->view();
    return staged;
  }
  staged.buffer = AlignedBuffer(static_cast<size_t>(tensor.rows * tensor.cols) * SizeOf(type));
  staged.matrix = MakeMatrix(staged.buffer.As<char>(), type, tensor.rows, tensor.cols);
  source_.Fill(index, staged.matrix);
  return staged;
}

LinearPtr SliceLoader::Prepare(const RawLinear& raw) {
  LinearPtr linear = backend_.PrepareLinear(raw, plan_.compute_type);
  weights_.weight_bytes += static_cast<int64_t>(linear->weight_bytes());
  return linear;
}

// Every linear has at most one of: a plain weight, an AWQ triple.
LinearPtr SliceLoader::Linear(LinearRole linear_role, TensorRole role, int64_t layer,
                              Bias bias_use) {
  RawLinear raw;
  raw.role = linear_role;
  Staged weight, qweight, qzeros, scales, bias;
  if (catalogue_.IsAwq(role, layer)) {
    qweight = Stage(role, TensorPart::kAwqQweight, layer, DType::kInt32);
    qzeros = Stage(role, TensorPart::kAwqQzeros, layer, DType::kInt32);
    scales = Stage(role, TensorPart::kAwqScales, layer, DType::kFloat32);
    raw.qweight = qweight.matrix;
    raw.qzeros = qzeros.matrix;
    raw.scales = scales.matrix;
    raw.in_features = raw.qweight.rows;
    raw.out_features = raw.qweight.cols * 8;
    raw.group_size = plan_.text.awq_group_size;
    const int64_t index = catalogue_.Find(role, TensorPart::kAwqQweight, layer);
    raw.group_offset = plan_.tensors[static_cast<size_t>(index)].awq_group_offset;
  } else {
    weight = Stage(role, TensorPart::kWeight, layer, plan_.compute_type);
    raw.weight = weight.matrix;
    raw.in_features = raw.weight.cols;
    raw.out_features = raw.weight.rows;
  }
  if (bias_use != Bias::kNone) bias = Stage(role, TensorPart::kBias, layer, DType::kFloat32);
  if (bias_use == Bias::kAttached) raw.bias = bias.matrix;
  return Prepare(raw);
}

TensorPtr SliceLoader::Upload(const Matrix& matrix) {
  weights_.weight_bytes += matrix.rows * static_cast<int64_t>(matrix.RowBytes());
  return backend_.Upload(matrix);
}

TensorPtr SliceLoader::Float32(TensorRole role, TensorPart part, int64_t layer) {
  const Staged staged = Stage(role, part, layer, DType::kFloat32);
  return staged.matrix.data == nullptr ? nullptr : Upload(staged.matrix);
}

NormTensors SliceLoader::Norm(TensorRole role, int64_t layer) {
  return {Float32(role, TensorPart::kWeight, layer), Float32(role, TensorPart::kBias, layer)};
}

// A tied head is prepared from the embedding's rows while they are staged, so that they are read
// once.
void SliceLoader::LoadVocabulary() {
  const int64_t head = catalogue_.Find(TensorRole::kLmHead, TensorPart::kWeight, 0);
  const bool is_tied = plan_.tensors[static_cast<size_t>(head)].tied_to_embedding;
  {
    const Staged rows =
        Stage(TensorRole::kTokenEmbedding, TensorPart::kWeight, 0, plan_.compute_type);
    weights_.decoder.embedding = Upload(rows.matrix);
    if (is_tied) {
      RawLinear raw;
      raw.role = LinearRole::kLmHead;
      raw.in_features = rows.matrix.cols;
      raw.out_features = rows.matrix.rows;
      raw.weight = rows.matrix;
      weights_.decoder.lm_head = Prepare(raw);
    }
  }
  if (!is_tied) {
    weights_.decoder.lm_head = Linear(LinearRole::kLmHead, TensorRole::kLmHead, 0, Bias::kNone);
  }
}

void SliceLoader::LoadDecoder() {
  DecoderWeights& decoder = weights_.decoder;
  decoder.layers.resize(static_cast<size_t>(plan_.text.num_layers));
  for (int64_t i = 0; i < plan_.text.num_layers; ++i) {
    DecoderLayerWeights& layer = decoder.layers[static_cast<size_t>(i)];
    layer.input_norm = Norm(TensorRole::kInputNorm, i);
    layer.qkv = Linear(LinearRole::kQkv, TensorRole::kQkv, i, Bias::kAttached);
    layer.o_proj = Linear(LinearRole::kOProj, TensorRole::kOProj, i, Bias::kNone);
    layer.post_attention_norm = Norm(TensorRole::kPostAttentionNorm, i);
    layer.gate_up = Linear(LinearRole::kGateUp, TensorRole::kGateUp, i, Bias::kNone);
    layer.down = Linear(LinearRole::kDown, TensorRole::kDown, i, Bias::kNone);
  }
  decoder.final_norm = Norm(TensorRole::kFinalNorm, 0);
}

void SliceLoader::LoadVision() {
  VisionWeights& vision = weights_.vision;
  vision.class_embedding = Float32(TensorRole::kVisionClassEmbedding, TensorPart::kWeight, 0);
  vision.position_embedding = Float32(TensorRole::kVisionPositionEmbedding, TensorPart::kWeight, 0);
  vision.patch_embedding = Linear(LinearRole::kVisionPatchEmbedding,
                                  TensorRole::kVisionPatchEmbedding, 0, Bias::kAttached);
  vision.layers.resize(static_cast<size_t>(plan_.vision.num_layers));
  for (int64_t i = 0; i < plan_.vision.num_layers; ++i) {
    VisionLayerWeights& layer = vision.layers[static_cast<size_t>(i)];
    layer.norm1 = Norm(TensorRole::kVisionNorm1, i);
    layer.qkv = Linear(LinearRole::kVisionQkv, TensorRole::kVisionQkv, i, Bias::kAttached);
    layer.q_norm = Float32(TensorRole::kVisionQNorm, TensorPart::kWeight, i);
    layer.k_norm = Float32(TensorRole::kVisionKNorm, TensorPart::kWeight, i);
    layer.proj = Linear(LinearRole::kVisionProj, TensorRole::kVisionProj, i, Bias::kNone);
    layer.proj_bias = Float32(TensorRole::kVisionProj, TensorPart::kBias, i);
    layer.layer_scale1 = Float32(TensorRole::kVisionLayerScale1, TensorPart::kWeight, i);
    layer.norm2 = Norm(TensorRole::kVisionNorm2, i);
    layer.fc1 = Linear(LinearRole::kVisionFc1, TensorRole::kVisionFc1, i, Bias::kAttached);
    layer.fc2 = Linear(LinearRole::kVisionFc2, TensorRole::kVisionFc2, i, Bias::kNone);
    layer.fc2_bias = Float32(TensorRole::kVisionFc2, TensorPart::kBias, i);
    layer.layer_scale2 = Float32(TensorRole::kVisionLayerScale2, TensorPart::kWeight, i);
  }
}

void SliceLoader::LoadProjector() {
  ProjectorWeights& projector = weights_.projector;
  const bool is_whole = plan_.layout.vision_parallel == VisionParallel::kData;
  projector.norm = Norm(TensorRole::kProjectorNorm, 0);
  projector.fc1 = Linear(LinearRole::kProjectorFc1, TensorRole::kProjectorFc1, 0, Bias::kAttached);
  projector.fc2 = Linear(LinearRole::kProjectorFc2, TensorRole::kProjectorFc2, 0,
                         is_whole || plan_.layout.rank == 0 ? Bias::kAttached : Bias::kDropped);
}

}  // namespace skein
