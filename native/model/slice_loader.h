// Turns a load plan into weights, one tensor at a time: made in the back end's memory, filled, and,
// where it is a linear's, prepared. What is not kept is freed at once, so that at most the slices
// plus one staged linear are resident. Knows roles, not checkpoint names.
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
  // Of back ends preparing linears.
  double prepare_ms() const { return prepare_ms_; }

 private:
  // A tensor of the plan, filled. Empty: not part of the plan.
  struct Staged {
    TensorPtr tensor;      // in the back end's memory
    AlignedBuffer buffer;  // or, a linear's bias, in the host's
    Matrix matrix;
  };

  // kDropped: read, since it is in the plan, but another rank adds it.
  enum class Bias { kNone, kAttached, kDropped };

  Staged Stage(TensorRole role, TensorPart part, int64_t layer, DType type, TensorUse use);
  Staged StageOnHost(TensorRole role, TensorPart part, int64_t layer, DType type = DType::kFloat32);
  Staged StageMixed(TensorRole role, int64_t layer, TensorUse use);
  Staged StageFloat8Scales(TensorRole role, int64_t layer);
  float Float8InputScale(TensorRole role, int64_t layer);
  LinearPtr Linear(LinearRole linear_role, TensorRole role, int64_t layer, Bias bias_use);
  LinearPtr Prepare(const RawLinear& raw);
  TensorPtr Float32(TensorRole role, TensorPart part, int64_t layer);
  TensorPtr Keep(Staged staged);
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
  double prepare_ms_ = 0;
};

}  // namespace skein
