// Names of roles and parts for messages, and the linears that a product consists of.
#include "core/error.h"
#include "model/tensor_catalogue.h"

namespace skein {
namespace {

constexpr struct {
  TensorRole role;
  const char* name;
} kRoleNames[] = {
    {TensorRole::kTokenEmbedding, "token-embedding"},
    {TensorRole::kLmHead, "lm-head"},
    {TensorRole::kFinalNorm, "final-norm"},
    {TensorRole::kInputNorm, "input-norm"},
    {TensorRole::kPostAttentionNorm, "post-attention-norm"},
    {TensorRole::kQkv, "qkv"},
    {TensorRole::kOProj, "o-proj"},
    {TensorRole::kGateUp, "gate-up"},
    {TensorRole::kDown, "down"},
    {TensorRole::kVisionClassEmbedding, "vision-class-embedding"},
    {TensorRole::kVisionPositionEmbedding, "vision-position-embedding"},
    {TensorRole::kVisionPatchEmbedding, "vision-patch-embedding"},
    {TensorRole::kVisionNorm1, "vision-norm1"},
    {TensorRole::kVisionNorm2, "vision-norm2"},
    {TensorRole::kVisionQkv, "vision-qkv"},
    {TensorRole::kVisionQNorm, "vision-q-norm"},
    {TensorRole::kVisionKNorm, "vision-k-norm"},
    {TensorRole::kVisionProj, "vision-proj"},
    {TensorRole::kVisionFc1, "vision-fc1"},
    {TensorRole::kVisionFc2, "vision-fc2"},
    {TensorRole::kVisionLayerScale1, "vision-layer-scale1"},
    {TensorRole::kVisionLayerScale2, "vision-layer-scale2"},
    {TensorRole::kProjectorNorm, "projector-norm"},
    {TensorRole::kProjectorFc1, "projector-fc1"},
    {TensorRole::kProjectorFc2, "projector-fc2"},
};

}  // namespace

const char* Name(TensorRole role) {
  for (const auto& entry : kRoleNames) {
    if (entry.role == role) return entry.name;
  }
  return "unknown role";
}

const char* Name(TensorPart part) {
  switch (part) {
    case TensorPart::kWeight:
      return "weight";
    case TensorPart::kBias:
      return "bias";
    case TensorPart::kAwqQweight:
      return "awq-qweight";
    case TensorPart::kAwqQzeros:
      return "awq-qzeros";
    case TensorPart::kAwqScales:
      return "awq-scales";
    case TensorPart::kFloat8Scales:
      return "float8-scales";
    case TensorPart::kFloat8InputScales:
      return "float8-input-scales";
  }
  return "unknown part";
}

std::vector<int64_t> LinearWidths(const LoadPlan& plan, TensorRole role) {
  const int64_t q = plan.layout.num_q_heads * plan.text.head_dim,
                kv = plan.layout.num_kv_heads * plan.text.head_dim,
                width = plan.layout.intermediate_size;
  switch (role) {
    case TensorRole::kQkv:
      return {q, kv, kv};
    case TensorRole::kGateUp:
      return {width, width};
    default:
      return {plan.text.hidden_size};
  }
}

std::string Describe(const RankTensor& tensor) {
  return Format("%s %s of layer %lld", Name(tensor.role), Name(tensor.part),
                static_cast<long long>(tensor.layer));
}

}  // namespace skein
