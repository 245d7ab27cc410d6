// InternViT over ops: tiles of pixels in, patch tokens out. The communicator sums the ranks' parts;
// with a whole tower on each rank (data mode) the caller passes one of world size 1.
#pragma once

#include <span>

#include "model/activations.h"
#include "model/model_spec.h"
#include "model/model_weights.h"

namespace skein {

// One tile: uint8 [side, side, 3] in host memory.
using TilePixels = const uint8_t*;

class VisionTower {
 public:
  VisionTower(Backend& backend, const VisionSpec& spec, const RankLayout& layout,
              const VisionWeights& weights, int64_t max_tiles, Activations& activations);

  // [tiles * (patches + 1), H]: the last layer's output, class rows included; no final norm. Valid
  // until the next call.
  Matrix Forward(std::span<const TilePixels> tiles, Communicator& communicator);

 private:
  void Embed(std::span<const TilePixels> tiles, const Matrix& tokens);
  void Layer(int64_t index, int64_t tiles, Communicator& communicator);
  // In front of a layer's attention.
  NormWeights FirstNorm(int64_t index) const;
  void NormalizeQk(const VisionLayerWeights& layer, const Matrix& qkv, Communicator& communicator);

  Backend& backend_;
  const VisionSpec spec_;
  const VisionWeights& weights_;
  int64_t num_heads_, patches_per_tile_, tokens_per_tile_;
  Matrix patches_, tokens_, normed_, qkv_, sums_, attention_, inner_, partial_;
};

}  // namespace skein
