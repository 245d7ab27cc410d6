#include "model/projector.h"

#include "model/plan_limits.h"

namespace skein {

Projector::Projector(Backend& backend, const VisionSpec& spec, const RankLayout& layout,
                     int64_t text_hidden_size, const ProjectorWeights& weights, int64_t max_tiles,
                     Activations& activations)
    : backend_(backend),
      spec_(spec),
      weights_(weights),
      grid_(spec.image_size / spec.patch_size),
      tokens_per_tile_(TokensPerTile(spec)) {
  const int64_t rows = max_tiles * tokens_per_tile_;
  const int64_t folded = spec.hidden_size * spec.shuffle_factor * spec.shuffle_factor;
  folded_ = activations.NewResidual(rows, folded);
  normed_ = activations.New(rows, folded);
  inner_ = activations.New(rows, layout.projector_size);
  out_ = activations.NewResidual(rows, text_hidden_size);
}

Matrix Projector::Forward(const Matrix& tokens, int64_t tiles, Communicator& communicator) {
  const int64_t rows = tiles * tokens_per_tile_;
  const Matrix folded = folded_.Rows(0, rows), normed = normed_.Rows(0, rows),
               inner = inner_.Rows(0, rows), out = out_.Rows(0, rows);
  backend_.PixelShuffle(tokens, tiles, grid_, spec_.shuffle_factor, folded);
  backend_.Norm(folded, weights_.norm.View(NormKind::kLayer, spec_.projector_norm_eps), normed);
  backend_.Linear(*weights_.fc1, normed, Activation::kGeluErf, inner);
  backend_.Linear(*weights_.fc2, inner, Activation::kNone, out);
  communicator.AllReduce(out.data, rows * out.stride, out.type, ReduceOp::kSum, backend_.stream());
  return out;
}

}  // namespace skein
