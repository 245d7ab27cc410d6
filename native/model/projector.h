// Pixel shuffle (v2) and the two-layer projector: patch tokens of the tower in, rows of the
// decoder's width out.
#pragma once

#include "model/activations.h"
#include "model/model_spec.h"
#include "model/model_weights.h"

namespace skein {

class Projector {
 public:
  Projector(Backend& backend, const VisionSpec& spec, const RankLayout& layout,
            int64_t text_hidden_size, const ProjectorWeights& weights, int64_t max_tiles,
            Activations& activations);

  // tokens [tiles * (patches + 1), H] -> [tiles * tokens per tile, text hidden size]. Valid until
  // the next call.
  Matrix Forward(const Matrix& tokens, int64_t tiles, Communicator& communicator);

 private:
  Backend& backend_;
  const VisionSpec spec_;
  const ProjectorWeights& weights_;
  int64_t grid_, tokens_per_tile_;
  Matrix folded_, normed_, inner_, out_;
};

}  // namespace skein
