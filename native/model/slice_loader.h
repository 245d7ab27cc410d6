// Turns a load plan into weights: stages one tensor at a time in host memory, hands it to the back
// end, and frees it at once, so that at most the slices plus one staged linear are resident. Knows
// roles, not checkpoint names.
#pragma once

#include <memory>

#include "core/aligned_buffer.h"
#include "model/model_weights.h"
#include "model/weight_source.h"

namespace skein {

class SliceLoader {
 public:
  SliceLoader(Backend& backend, const LoadPlan& plan, const TensorCatalogue& catalogue,
              WeightSource& source);

  ModelWeights Load();

 private:
  // A tensor of the plan in host memory, or, random, in the back end's.
  struct Staged {
    AlignedBuffer buffer;
    TensorPtr random;  // instead of the buffer: made by the back end
    Matrix matrix;     // data == nullptr: not part of the plan
  };

  // kDropped: read, since it is in the plan, but another rank adds it.
  enum class Bias { kNone, kAttached, kDropped };

  Staged Stage(TensorRole role, TensorPart part, int64_t layer, DType type);
  LinearPtr Linear(LinearRole linear_role, TensorRole role, int64_t layer, Bias bias_use);
  LinearPtr Prepare(const RawLinear& raw);
  TensorPtr Float32(TensorRole role, TensorPart part, int64_t layer);
  TensorPtr Upload(const Matrix& matrix);
  NormTensors Norm(TensorRole role, int64_t layer);

  void LoadVocabulary();
  void LoadDecoder();
  void LoadVision();
  void LoadProjector();

  Backend& backend_;
  const LoadPlan& plan_;
  const TensorCatalogue& catalogue_;
  WeightSource& source_;
  ModelWeights weights_;
};

}  // namespace skein
