#include "model/decoder.h"

namespace skein {

Decoder::Decoder(Backend& backend, const DecoderShape& shape, const DecoderWeights& weights,
                 Activations& activations)
    : backend_(backend), shape_(shape), weights_(weights) {
  const int64_t rows = shape.max_rows, h = shape.text.hidden_size, d = shape.text.head_dim;
  const RankLayout& layout = shape.layout;
  hidden_ = activations.NewResidual(rows, h);
  normed_ = activations.New(rows, h);
  partial_ = activations.NewResidual(rows, h);
  qkv_ = activations.New(rows, (layout.num_q_heads + 2 * layout.num_kv_heads) * d);
  attention_ = activations.New(rows, layout.num_q_heads * d);
  gate_up_ = activations.NewResidual(rows, 2 * layout.intermediate_size);
  product_ = activations.New(rows, layout.intermediate_size);
  sample_hidden_ = activations.NewResidual(shape.max_sample_rows, h);
  sample_normed_ = activations.New(shape.max_sample_rows, h);
  logits_ = activations.New(DType::kFloat32, shape.max_sample_rows, layout.vocab_rows);
}

void Decoder::Forward(int64_t rows, Communicator& communicator, KvCache& cache,
                      const std::function<void(const Matrix&)>& place_pictures, bool is_final) {
  const RankLayout& layout = shape_.layout;
  const Matrix hidden = hidden_.Rows(0, rows);
  // Each token's row is zero on all ranks but one, so the sum is exact.
  backend_.EmbedTokens(weights_.embedding->view(), layout.vocab_start, layout.vocab_valid_rows,
                       hidden);
  communicator.AllReduce(hidden.data, rows * hidden.stride, hidden.type, ReduceOp::kSum,
                         backend_.stream());
  place_pictures(hidden);
  const DecoderLayerWeights& layer = weights_.layers[0];
  const NormWeights first =
      layer.input_norm.View(NormKind::kRms, shape_.text.rms_norm_eps, layer.qkv.get());
  backend_.Norm(hidden, first, normed_.Rows(0, rows));
  for (int64_t i = 0; i < shape_.text.num_layers; ++i) {
    const bool is_last = i + 1 == shape_.text.num_layers;
    const auto after = static_cast<size_t>(i + 1);
    const NormTensors& following =
        is_last ? weights_.final_norm : weights_.layers[after].input_norm;
    const LinearPtr& reader = is_last ? weights_.lm_head : weights_.layers[after].qkv;
    const NormWeights next = following.View(NormKind::kRms, shape_.text.rms_norm_eps, reader.get());
    Layer(i, rows, communicator, cache, is_last && !is_final ? nullptr : &next);
  }
}

// Each all-reduce also adds to the residual and yields the next norm's output, so `normed_` is
// always ready for the next product.
void Decoder::Layer(int64_t index, int64_t rows, Communicator& communicator, KvCache& cache,
                    const NormWeights* next) {
  const DecoderLayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const Matrix hidden = hidden_.Rows(0, rows), normed = normed_.Rows(0, rows),
               partial = PartialRows(backend_, partial_, rows, communicator),
               qkv = qkv_.Rows(0, rows), attention = attention_.Rows(0, rows),
               gate_up = gate_up_.Rows(0, rows), product = product_.Rows(0, rows);
  const double eps = shape_.text.rms_norm_eps;

  backend_.Linear(*layer.qkv, normed, Activation::kNone, qkv);
  backend_.RotaryAttention(qkv, cache, index, shape_.text.rope_theta, shape_.layout.q_to_kv,
                           attention);
  const NormWeights post = layer.post_attention_norm.View(NormKind::kRms, eps, layer.gate_up.get());
  backend_.LinearResidualNorm(communicator, *layer.o_proj, attention,
                              {partial, nullptr, nullptr, hidden, &post, &normed});

  backend_.GateUpSwiGlu(*layer.gate_up, normed, gate_up, product);
  backend_.LinearResidualNorm(
      communicator, *layer.down, product,
      {partial, nullptr, nullptr, hidden, next, next == nullptr ? nullptr : &normed});
}

void Decoder::FinalLogits(int64_t rows) {
  backend_.Linear(*weights_.lm_head, normed_.Rows(0, rows), Activation::kNone,
                  logits_.Rows(0, rows));
}

void Decoder::SampleLogits(std::span<const int32_t> sample_rows) {
  const auto rows = static_cast<int64_t>(sample_rows.size());
  const Matrix hidden = sample_hidden_.Rows(0, rows), normed = sample_normed_.Rows(0, rows),
               logits = logits_.Rows(0, rows);
  backend_.GatherRows(hidden_, sample_rows, hidden);
  backend_.Norm(hidden, weights_.final_norm.View(NormKind::kRms, shape_.text.rms_norm_eps), normed);
  backend_.Linear(*weights_.lm_head, normed, Activation::kNone, logits);
}

}  // namespace skein
