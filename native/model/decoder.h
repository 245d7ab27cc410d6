// The Qwen2 decoder over ops: token rows in, logits of the sampling rows out. Holds no sequence
// state; the KV cache and the communicator are those of the current epoch and come with each call.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "model/activations.h"
#include "model/model_spec.h"
#include "model/model_weights.h"

namespace skein {

struct DecoderShape {
  TextSpec text;
  RankLayout layout;
  int64_t max_rows = 0;         // tokens of a step
  int64_t max_sample_rows = 0;  // sequences that sample in a step
};

class Decoder {
 public:
  Decoder(Backend& backend, const DecoderShape& shape, const DecoderWeights& weights,
          Activations& activations);

  // The step that BeginStep announced: `rows` tokens. `place_pictures` writes picture rows over the
  // token embeddings [rows, h]. Afterwards hidden state stands for one of the two below: `is_final`
  // for the second.
  void Forward(int64_t rows, Communicator& communicator, KvCache& cache,
               const std::function<void(const Matrix&)>& place_pictures, bool is_final = false);
  // Logits [sample rows, local vocabulary] in float32; only these rows pass the final norm and the
  // head.
  void SampleLogits(std::span<const int32_t> sample_rows);
  // Of the first rows, whose final norm comes with the last layer's sum.
  void FinalLogits(int64_t rows);
  // What the last Forward left behind all layers, before the final norm: the first `rows` of it.
  Matrix hidden(int64_t rows) const { return hidden_.Rows(0, rows); }
  int64_t max_rows() const { return shape_.max_rows; }
  // What every step sums over the ranks, in place.
  std::vector<Matrix> reduced() const { return {hidden_, partial_}; }
  // What SampleLogits left, the first `rows` of it.
  Matrix logits(int64_t rows) const { return logits_.Rows(0, rows); }

 private:
  void Layer(int64_t index, int64_t rows, Communicator& communicator, KvCache& cache,
             const NormWeights* next);

  Backend& backend_;
  const DecoderShape shape_;
  const DecoderWeights& weights_;
  Matrix hidden_, normed_, qkv_, attention_, gate_up_, product_, partial_;
  Matrix sample_hidden_, sample_normed_, logits_;
};

}  // namespace skein
