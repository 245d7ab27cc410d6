// One rank's weights in the back end's own form, by what they are for. Only holds them.
#pragma once

#include <memory>
#include <vector>

#include "ops/backend.h"

namespace skein {

using LinearPtr = std::unique_ptr<PreparedLinear>;
using TensorPtr = std::unique_ptr<DeviceTensor>;

// A norm's weight and, for LayerNorm, bias: [h] float32 each.
struct NormTensors {
  TensorPtr weight, bias;

  // reader: the linear that alone reads the outputs; null: there are others, or none is known.
  NormWeights View(NormKind kind, double eps, const PreparedLinear* reader = nullptr) const {
    return {kind, weight->view().As<const float>(),
            bias == nullptr ? nullptr : bias->view().As<const float>(), static_cast<float>(eps),
            reader == nullptr || !reader->ReadsFloat8()};
  }
};

inline const float* Floats(const TensorPtr& tensor) {
  return tensor == nullptr ? nullptr : tensor->view().As<const float>();
}

struct DecoderLayerWeights {
  NormTensors input_norm, post_attention_norm;
  LinearPtr qkv, o_proj, gate_up, down;
};

struct DecoderWeights {
  TensorPtr embedding;  // [vocab rows, h], compute type
  LinearPtr lm_head;
  NormTensors final_norm;
  std::vector<DecoderLayerWeights> layers;
};

// The biases of row-parallel products stand apart: they are added once, after the sum over the
// ranks.
struct VisionLayerWeights {
  NormTensors norm1, norm2;
  LinearPtr qkv, proj, fc1, fc2;
  TensorPtr q_norm, k_norm;              // [local heads * d], or null
  TensorPtr proj_bias, fc2_bias;         // [H]
  TensorPtr layer_scale1, layer_scale2;  // [H]
};

struct VisionWeights {
  TensorPtr class_embedding, position_embedding;  // [1, H], [p + 1, H]
  LinearPtr patch_embedding;
  std::vector<VisionLayerWeights> layers;
};

struct ProjectorWeights {
  NormTensors norm;
  LinearPtr fc1;
  // Its bias is part of rank 0's product only: there is no residual to add it to, and the sum over
  // the ranks must hold it once.
  LinearPtr fc2;
};

struct ModelWeights {
  DecoderWeights decoder;
  VisionWeights vision;
  ProjectorWeights projector;
  int64_t weight_bytes = 0;
};

}  // namespace skein
