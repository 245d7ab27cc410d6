#include "model/slice_loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace skein {
namespace {

// weight[o][i] += (q - z) * scale, by the words' order of ops/backend.h. Sliced along the outputs
// only, so that groups begin at the first input.
void AddDequantised(const Matrix& words, const Matrix& zeros, const Matrix& scales, int64_t group,
                    const Matrix& weight) {
  constexpr int kBitOfColumn[8] = {0, 16, 4, 20, 8, 24, 12, 28};
  for (int64_t i = 0; i < words.rows; ++i) {
    const auto* q = reinterpret_cast<const uint32_t*>(words.Rows(i, 1).data);
    const auto* z = reinterpret_cast<const uint32_t*>(zeros.Rows(i / group, 1).data);
    const auto* scale = reinterpret_cast<const float*>(scales.Rows(i / group, 1).data);
    for (int64_t o = 0; o < weight.rows; ++o) {
      const int bit = kBitOfColumn[o % 8];
      const int difference =
          static_cast<int>((q[o / 8] >> bit) & 15) - static_cast<int>((z[o / 8] >> bit) & 15);
      reinterpret_cast<float*>(weight.Rows(o, 1).data)[i] +=
          static_cast<float>(difference) * scale[o];
    }
  }
}

}  // namespace

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

SliceLoader::Staged SliceLoader::Stage(TensorRole role, TensorPart part, int64_t layer, DType type,
                                       TensorUse use) {
  Staged staged;
  const int64_t index = catalogue_.Find(role, part, layer);
  if (index < 0) return staged;
  const RankTensor& tensor = plan_.tensors[static_cast<size_t>(index)];
  if (plan_.dummy_weights && backend_.MakesRandomTensors()) {
    staged.tensor =
        backend_.MakeRandomTensor(type, tensor.rows, tensor.cols, source_.TakeBlocks(index), use);
  } else {
    staged.tensor = backend_.NewWeight(type, tensor.rows, tensor.cols, use);
    WeightStream* const stream = backend_.weight_stream();
    if (stream != nullptr) {
      source_.Stream(index, staged.tensor->view(), *stream);
    } else {
      source_.Fill(index, staged.tensor->view());
    }
  }
  staged.matrix = staged.tensor->view();
  return staged;
}

SliceLoader::Staged SliceLoader::StageOnHost(TensorRole role, TensorPart part, int64_t layer,
                                             DType type) {
  Staged staged;
  const int64_t index = catalogue_.Find(role, part, layer);
  if (index < 0) return staged;
  const RankTensor& tensor = plan_.tensors[static_cast<size_t>(index)];
  staged.buffer = AlignedBuffer(static_cast<size_t>(tensor.rows * tensor.cols) * SizeOf(type));
  staged.matrix = MakeMatrix(staged.buffer.As<char>(), type, tensor.rows, tensor.cols);
  if (backend_.holds_memory()) {
    source_.Fill(index, staged.matrix);
  } else if (type == DType::kFloat32) {
    // Valid as scales, too.
    std::fill_n(staged.matrix.As<float>(), tensor.rows * tensor.cols, 1.0f);
  }
  return staged;
}

// Plain rows as they are, packed ones written out: one plain weight. Each of the two is zero where
// the other holds an output, so that the weight is their sum. Such products are few.
SliceLoader::Staged SliceLoader::StageMixed(TensorRole role, int64_t layer, TensorUse use) {
  if (!backend_.holds_memory()) {
    return Stage(role, TensorPart::kWeight, layer, plan_.compute_type, use);
  }
  Staged weight = StageOnHost(role, TensorPart::kWeight, layer);
  {
    const Staged words = StageOnHost(role, TensorPart::kAwqQweight, layer, DType::kInt32);
    const Staged zeros = StageOnHost(role, TensorPart::kAwqQzeros, layer, DType::kInt32);
    const Staged scales = StageOnHost(role, TensorPart::kAwqScales, layer);
    AddDequantised(words.matrix, zeros.matrix, scales.matrix, plan_.text.awq_group_size,
                   weight.matrix);
  }
  WeightStream* const stream = backend_.weight_stream();
  if (stream == nullptr) return weight;
  Staged staged;
  const Matrix& host = weight.matrix;
  staged.tensor = backend_.NewWeight(plan_.compute_type, host.rows, host.cols, use);
  staged.matrix = staged.tensor->view();
  const auto step = static_cast<int64_t>(stream->buffer_bytes() / host.RowBytes());
  SKEIN_CHECK(step > 0, "a row of %zu bytes", static_cast<size_t>(host.RowBytes()));
  for (int64_t row = 0; row < host.rows; row += step) {
    const int64_t count = std::min(step, host.rows - row);
    char* const buffer = stream->NextBuffer();
    std::memcpy(buffer, host.Rows(row, count).data,
                static_cast<size_t>(count) * static_cast<size_t>(host.RowBytes()));
    stream->Send(MakeMatrix(buffer, DType::kFloat32, count, host.cols),
                 staged.matrix.Rows(row, count));
  }
  return staged;
}

LinearPtr SliceLoader::Prepare(const RawLinear& raw) {
  const AddedTime time(prepare_ms_);
  LinearPtr linear = backend_.PrepareLinear(raw, plan_.compute_type);
  weights_.weight_bytes += static_cast<int64_t>(linear->weight_bytes());
  return linear;
}

// One scale an output, whether the checkpoint has that or one for each linear of the product.
SliceLoader::Staged SliceLoader::StageFloat8Scales(TensorRole role, int64_t layer) {
  const std::vector<int64_t> widths = LinearWidths(plan_, role);
  const Staged stored = StageOnHost(role, TensorPart::kFloat8Scales, layer);
  const auto* values = stored.matrix.As<const float>();
  const int64_t out = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  Staged scales;
  scales.buffer = AlignedBuffer(static_cast<size_t>(out) * sizeof(float));
  scales.matrix = MakeMatrix(scales.buffer.As<char>(), DType::kFloat32, 1, out);
  auto* to = scales.matrix.As<float>();
  if (stored.matrix.rows == out) {
    std::copy(values, values + out, to);
    return scales;
  }
  for (size_t i = 0; i < widths.size(); ++i) to = std::fill_n(to, widths[i], values[i]);
  return scales;
}

// The linears of a product have one row of inputs: the largest of their scales saturates least.
float SliceLoader::Float8InputScale(TensorRole role, int64_t layer) {
  const Staged scales = StageOnHost(role, TensorPart::kFloat8InputScales, layer);
  if (scales.matrix.data == nullptr) return 0;
  const auto* values = scales.matrix.As<const float>();
  const float largest = *std::max_element(values, values + scales.matrix.rows);
  if (!(largest > 0) || !std::isfinite(largest)) {
    throw Error("CORRUPT_WEIGHTS", Format("%s of layer %lld: its input scale is %g", Name(role),
                                          static_cast<long long>(layer), largest));
  }
  return largest;
}

// Every linear has one of: a plain weight, a float8 weight with scales, an AWQ triple. A back end
// with memory of its own adopts a weight that stays as it is; the host's back end packs it anew.
LinearPtr SliceLoader::Linear(LinearRole linear_role, TensorRole role, int64_t layer,
                              Bias bias_use) {
  RawLinear raw;
  raw.role = linear_role;
  Staged weight, qweight, qzeros, scales, bias;
  if (catalogue_.IsAwq(role, layer) && !catalogue_.IsMixed(role, layer)) {
    qweight = Stage(role, TensorPart::kAwqQweight, layer, DType::kInt32, TensorUse::kConsumed);
    qzeros = Stage(role, TensorPart::kAwqQzeros, layer, DType::kInt32, TensorUse::kConsumed);
    scales = Stage(role, TensorPart::kAwqScales, layer, DType::kFloat32, TensorUse::kConsumed);
    raw.qweight = qweight.matrix;
    raw.qzeros = qzeros.matrix;
    raw.scales = scales.matrix;
    raw.in_features = raw.qweight.rows;
    raw.out_features = raw.qweight.cols * 8;
    raw.group_size = plan_.text.awq_group_size;
    const int64_t index = catalogue_.Find(role, TensorPart::kAwqQweight, layer);
    raw.group_offset = plan_.tensors[static_cast<size_t>(index)].awq_group_offset;
  } else {
    const int64_t index = catalogue_.Find(role, TensorPart::kWeight, layer);
    const RankTensor& tensor = plan_.tensors[static_cast<size_t>(index)];
    raw.quantizes = tensor.quantize_to_float8;
    const bool is_float8 = tensor.stored_type == DType::kFloat8E4M3;
    const TensorUse use = backend_.weight_stream() == nullptr || raw.quantizes
                              ? TensorUse::kConsumed
                              : TensorUse::kKept;
    weight = catalogue_.IsMixed(role, layer)
                 ? StageMixed(role, layer, use)
                 : Stage(role, TensorPart::kWeight, layer,
                         is_float8 ? DType::kFloat8E4M3 : plan_.compute_type, use);
    if (is_float8) {
      scales = StageFloat8Scales(role, layer);
      raw.weight_scales = scales.matrix;
      raw.input_scale = Float8InputScale(role, layer);
    }
    raw.weight = weight.matrix;
    raw.in_features = raw.weight.cols;
    raw.out_features = raw.weight.rows;
  }
  if (bias_use != Bias::kNone) bias = StageOnHost(role, TensorPart::kBias, layer);
  if (bias_use == Bias::kAttached) raw.bias = bias.matrix;
  return Prepare(raw);
}

TensorPtr SliceLoader::Keep(Staged staged) {
  if (staged.tensor != nullptr) {
    weights_.weight_bytes += staged.matrix.rows * static_cast<int64_t>(staged.matrix.RowBytes());
  }
  return std::move(staged.tensor);
}

TensorPtr SliceLoader::Float32(TensorRole role, TensorPart part, int64_t layer) {
  return Keep(Stage(role, part, layer, DType::kFloat32, TensorUse::kKept));
}

NormTensors SliceLoader::Norm(TensorRole role, int64_t layer) {
  return {Float32(role, TensorPart::kWeight, layer), Float32(role, TensorPart::kBias, layer)};
}

// A tied head is prepared from the embedding's rows, so that they are read once.
void SliceLoader::LoadVocabulary() {
  DecoderWeights& decoder = weights_.decoder;
  decoder.embedding = Keep(Stage(TensorRole::kTokenEmbedding, TensorPart::kWeight, 0,
                                 plan_.compute_type, TensorUse::kKept));
  const int64_t head = catalogue_.Find(TensorRole::kLmHead, TensorPart::kWeight, 0);
  if (!plan_.tensors[static_cast<size_t>(head)].tied_to_embedding) {
    decoder.lm_head = Linear(LinearRole::kLmHead, TensorRole::kLmHead, 0, Bias::kNone);
    return;
  }
  RawLinear raw;
  raw.role = LinearRole::kLmHead;
  raw.weight = decoder.embedding->view();
  raw.in_features = raw.weight.cols;
  raw.out_features = raw.weight.rows;
  const int64_t counted = weights_.weight_bytes;
  decoder.lm_head = Prepare(raw);
  // Adopted: the same bytes as the embedding's.
  if (backend_.weight_stream() != nullptr) weights_.weight_bytes = counted;
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
