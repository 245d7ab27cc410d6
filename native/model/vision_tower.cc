#include "model/vision_tower.h"

namespace skein {

VisionTower::VisionTower(Backend& backend, const VisionSpec& spec, const RankLayout& layout,
                         const VisionWeights& weights, int64_t max_tiles, Activations& activations)
    : backend_(backend), spec_(spec), weights_(weights), num_heads_(layout.vision_num_heads) {
  const int64_t grid = spec.image_size / spec.patch_size;
  patches_per_tile_ = grid * grid;
  tokens_per_tile_ = patches_per_tile_ + 1;
  const int64_t rows = max_tiles * tokens_per_tile_, h = spec.hidden_size;
  const int64_t width = num_heads_ * spec.head_dim;
  patches_ = activations.New(max_tiles * patches_per_tile_,
                             spec.num_channels * spec.patch_size * spec.patch_size);
  tokens_ = activations.NewResidual(rows, h);
  normed_ = activations.New(rows, h);
  partial_ = activations.NewResidual(rows, h);
  qkv_ = activations.New(rows, 3 * width);
  attention_ = activations.New(rows, width);
  inner_ = activations.New(rows, layout.vision_intermediate_size);
  if (spec.qk_normalization) sums_ = activations.New(DType::kFloat32, rows, 2);
}

Matrix VisionTower::Forward(std::span<const TilePixels> tiles, Communicator& communicator) {
  const auto num_tiles = static_cast<int64_t>(tiles.size());
  const int64_t rows = num_tiles * tokens_per_tile_;
  const Matrix tokens = tokens_.Rows(0, rows);
  Embed(tiles, tokens);
  const NormWeights first = FirstNorm(0);
  backend_.Norm(tokens, first, normed_.Rows(0, rows));
  for (int64_t i = 0; i < spec_.num_layers; ++i) Layer(i, num_tiles, communicator);
  return tokens;
}

void VisionTower::Embed(std::span<const TilePixels> tiles, const Matrix& tokens) {
  const auto num_tiles = static_cast<int64_t>(tiles.size());
  for (int64_t i = 0; i < num_tiles; ++i) {
    backend_.PixelsToPatches(tiles[static_cast<size_t>(i)], 1, spec_.image_size, spec_.patch_size,
                             spec_.pixel_mean, spec_.pixel_std,
                             patches_.Rows(i * patches_per_tile_, patches_per_tile_));
  }
  // `partial_` is free until the first layer's products.
  const Matrix embedded = partial_.Rows(0, num_tiles * patches_per_tile_);
  backend_.Linear(*weights_.patch_embedding, patches_.Rows(0, embedded.rows), Activation::kNone,
                  embedded);
  backend_.AssembleVisionTokens(embedded, Floats(weights_.class_embedding),
                                Floats(weights_.position_embedding), num_tiles, tokens);
}

void VisionTower::Layer(int64_t index, int64_t tiles, Communicator& communicator) {
  const VisionLayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const int64_t rows = tiles * tokens_per_tile_;
  const Matrix tokens = tokens_.Rows(0, rows), normed = normed_.Rows(0, rows),
               partial = PartialRows(backend_, partial_, rows, communicator),
               qkv = qkv_.Rows(0, rows), attention = attention_.Rows(0, rows),
               inner = inner_.Rows(0, rows);

  backend_.Linear(*layer.qkv, normed, Activation::kNone, qkv);
  if (spec_.qk_normalization) NormalizeQk(layer, qkv, communicator);
  backend_.VisionAttention(qkv, tiles, tokens_per_tile_, num_heads_, spec_.head_dim, attention);
  const NormWeights norm2 = layer.norm2.View(spec_.norm_kind, spec_.norm_eps, layer.fc1.get());
  backend_.LinearResidualNorm(
      communicator, *layer.proj, attention,
      {partial, Floats(layer.proj_bias), Floats(layer.layer_scale1), tokens, &norm2, &normed});

  backend_.Linear(*layer.fc1, normed, Activation::kGeluErf, inner);
  const bool is_last = index + 1 == spec_.num_layers;
  const NormWeights next = is_last ? NormWeights{} : FirstNorm(index + 1);
  backend_.LinearResidualNorm(communicator, *layer.fc2, inner,
                              {partial, Floats(layer.fc2_bias), Floats(layer.layer_scale2), tokens,
                               is_last ? nullptr : &next, is_last ? nullptr : &normed});
}

NormWeights VisionTower::FirstNorm(int64_t index) const {
  const VisionLayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  return layer.norm1.View(spec_.norm_kind, spec_.norm_eps, layer.qkv.get());
}

// The norm runs over the full width: the heads of all ranks. Each rank has only its part of the
// sums of squares.
void VisionTower::NormalizeQk(const VisionLayerWeights& layer, const Matrix& qkv,
                              Communicator& communicator) {
  const Matrix sums = sums_.Rows(0, qkv.rows);
  backend_.QkSumSquares(qkv, num_heads_, spec_.head_dim, sums);
  communicator.AllReduce(sums.data, sums.rows * sums.stride, DType::kFloat32, ReduceOp::kSum,
                         backend_.stream());
  backend_.ApplyQkNorm(qkv, sums, Floats(layer.q_norm), Floats(layer.k_norm), num_heads_,
                       spec_.head_dim, spec_.hidden_size, static_cast<float>(spec_.norm_eps));
}

}  // namespace skein
